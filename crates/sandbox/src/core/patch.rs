//! Writes a relocation's value into its instruction.

use super::Bad;
use super::value::Value;

const SLOT: usize = 8;
const CLASS_MASK: u8 = 0x07;
const CLASS_LD: u8 = 0x00;
const CLASS_LDX: u8 = 0x01;
const CLASS_ST: u8 = 0x02;
const CLASS_STX: u8 = 0x03;
const CLASS_ALU: u8 = 0x04;
const CLASS_ALU64: u8 = 0x07;
const SOURCE_REGISTER: u8 = 0x08;
const SIZE_MASK: u8 = 0x18;
const LD_IMM64: u8 = 0x18;
const CALL: u8 = 0x85;

/// Number of the helper that a poisoned instruction calls; nobody has it ("bad relo" in hex).
const POISON: i32 = 0x0bad_2310;

/// Changes the instruction at `offset` bytes.
pub(super) fn apply(insns: &mut [u8], offset: u32, value: &Value) -> Result<(), Bad> {
    const OUTSIDE: Bad = Bad("its instruction is outside of the program");
    if !(offset as usize).is_multiple_of(SLOT) {
        return Err(Bad("its offset is no multiple of 8"));
    }
    let slots = insns.get_mut(offset as usize..).ok_or(OUTSIDE)?;
    let (slots, _) = slots.as_chunks_mut::<SLOT>();
    let (first, rest) = slots.split_first_mut().ok_or(OUTSIDE)?;
    let [code, registers, ..] = *first;
    if value.poison {
        return poison(first, rest);
    }
    match code & CLASS_MASK {
        CLASS_ALU | CLASS_ALU64 if code & SOURCE_REGISTER == 0 => immediate(first, value),
        CLASS_LDX | CLASS_ST | CLASS_STX => {
            if value.width_fixed && displacement_fits(first, value)? {
                return poison(first, rest);
            }
            displacement(first, value)
        }
        CLASS_LD if code == LD_IMM64 && registers >> 4 == 0 => {
            let second = rest.first_mut().ok_or(OUTSIDE)?;
            wide(first, second, value)
        }
        _ => Err(Bad("its instruction is of no kind that is relocated")),
    }
}

fn poison(first: &mut [u8; SLOT], rest: &mut [[u8; SLOT]]) -> Result<(), Bad> {
    let [b0, b1, b2, b3] = POISON.to_le_bytes();
    let call = [CALL, 0, 0, 0, b0, b1, b2, b3];
    if first.first() == Some(&LD_IMM64) {
        *rest.first_mut().ok_or(Bad("its instruction is cut"))? = call;
    }
    *first = call;
    Ok(())
}

fn immediate(slot: &mut [u8; SLOT], value: &Value) -> Result<(), Bad> {
    let [code, registers, o0, o1, i0, i1, i2, i3] = *slot;
    let found = i64::from(i32::from_le_bytes([i0, i1, i2, i3])) as u64;
    expect(found, value)?;
    let [i0, i1, i2, i3] = (value.new as u32).to_le_bytes();
    *slot = [code, registers, o0, o1, i0, i1, i2, i3];
    Ok(())
}

/// The checks before a displacement is written.
fn displacement_fits(slot: &[u8; SLOT], value: &Value) -> Result<bool, Bad> {
    let [_, _, o0, o1, ..] = *slot;
    expect(i64::from(i16::from_le_bytes([o0, o1])) as u64, value)?;
    match i16::try_from(value.new) {
        Ok(_) => Ok(true),
        Err(_) => Err(Bad("its offset does not fit a load or store")),
    }
}

fn displacement(slot: &mut [u8; SLOT], value: &Value) -> Result<(), Bad> {
    displacement_fits(slot, value)?;
    let [code, registers, _, _, i0, i1, i2, i3] = *slot;
    let code = match value.size {
        Some((own, found)) if own != found => {
            if width(code) != own {
                return Err(Bad("its load or store is not as wide as its field"));
            }
            let size = size_code(found).ok_or(Bad("its field has no load or store"))?;
            (code & !SIZE_MASK) | size
        }
        _ => code,
    };
    let [o0, o1] = (value.new as i16).to_le_bytes();
    *slot = [code, registers, o0, o1, i0, i1, i2, i3];
    Ok(())
}

fn wide(first: &mut [u8; SLOT], second: &mut [u8; SLOT], value: &Value) -> Result<(), Bad> {
    let [code, registers, 0, 0, i0, i1, i2, i3] = *first else {
        return Err(Bad("its 64-bit immediate is of no known form"));
    };
    let [0, 0, 0, 0, j0, j1, j2, j3] = *second else {
        return Err(Bad("its 64-bit immediate is of no known form"));
    };
    expect(u64::from_le_bytes([i0, i1, i2, i3, j0, j1, j2, j3]), value)?;
    let [i0, i1, i2, i3, j0, j1, j2, j3] = value.new.to_le_bytes();
    *first = [code, registers, 0, 0, i0, i1, i2, i3];
    *second = [0, 0, 0, 0, j0, j1, j2, j3];
    Ok(())
}

fn expect(found: u64, value: &Value) -> Result<(), Bad> {
    if value.validate && found != value.original {
        return Err(Bad(
            "its instruction does not hold what the program's types say",
        ));
    }
    Ok(())
}

fn width(code: u8) -> u32 {
    match code & SIZE_MASK {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    }
}

fn size_code(bytes: u32) -> Option<u8> {
    match bytes {
        4 => Some(0x00),
        2 => Some(0x08),
        1 => Some(0x10),
        8 => Some(0x18),
        _ => None,
    }
}
