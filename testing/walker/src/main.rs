//! Asks the firmware about images: each file of `\images` on the volume this program was started
//! from goes through `LoadImage`, in the order of the names. None of them is started; if there is a
//! `\start.efi`, that is, afterwards. Otherwise the machine is switched off.
//!
//! One line a file, then one with their number:
//!
//! ```text
//! walker: NAME STATUS
//! walker: end NUMBER
//! ```
//! `STATUS` is the `EFI_STATUS` in hexadecimal, without its error bit (UEFI, "Status Codes").
#![no_main]
#![no_std]

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use uefi::boot::{self, LoadImageSource};
use uefi::fs::{FileSystem, Path, PathBuf};
use uefi::prelude::*;
use uefi::proto::device_path::DevicePath;
use uefi::proto::loaded_image::LoadedImage;
use uefi::runtime::{self, ResetType};
use uefi::{CStr16, cstr16, println};

/// The directory of the images.
const IMAGES: &CStr16 = cstr16!("\\images");
/// What is started at the end.
const START: &CStr16 = cstr16!("\\start.efi");

#[entry]
fn main() -> Status {
    // The firmware's own output left the cursor somewhere.
    println!();
    match walk() {
        Ok(()) => {}
        Err(why) => println!("walker: failed {why}"),
    }
    power_off()
}

fn power_off() -> ! {
    runtime::reset(ResetType::SHUTDOWN, Status::SUCCESS, None)
}

fn walk() -> Result<(), String> {
    let volume = boot::get_image_file_system(boot::image_handle())
        .map_err(|error| alloc::format!("the volume: {error}"))?;
    let mut files = FileSystem::new(volume);
    let names = names(&mut files)?;
    for name in &names {
        let mut path = PathBuf::from(IMAGES);
        path.push(Path::new(name));
        let image = files
            .read(&path)
            .map_err(|error| alloc::format!("{name}: {error}"))?;
        println!("walker: {name} {:x}", ask(&image));
    }
    println!("walker: end {}", names.len());
    start(&mut files)
}

/// Starts the image that is there to be started, as if it came from this volume.
fn start(files: &mut FileSystem) -> Result<(), String> {
    if !matches!(files.try_exists(START), Ok(true)) {
        return Ok(());
    }
    let image = files.read(START).map_err(|error| error.to_string())?;
    let own = boot::open_protocol_exclusive::<LoadedImage>(boot::image_handle());
    let device = own.map_err(|error| error.to_string())?.device();
    let device = device.ok_or("started from no device")?;
    let path = boot::open_protocol_exclusive::<DevicePath>(device);
    let path = path.map_err(|error| error.to_string())?;
    let source = LoadImageSource::FromBuffer {
        buffer: &image,
        file_path: Some(&path),
    };
    boot::load_image(boot::image_handle(), source)
        .and_then(boot::start_image)
        .map_err(|error| alloc::format!("{START}: {error}"))?;
    Err(alloc::format!("{START} came back"))
}

fn names(files: &mut FileSystem) -> Result<Vec<uefi::CString16>, String> {
    let mut names = Vec::new();
    for entry in files
        .read_dir(Path::new(IMAGES))
        .map_err(|error| error.to_string())?
    {
        let entry = entry.map_err(|error| error.to_string())?;
        if entry.is_regular_file() {
            names.push(entry.file_name().into());
        }
    }
    names.sort();
    Ok(names)
}

/// What `LoadImage` says of the image.
fn ask(image: &[u8]) -> usize {
    let source = LoadImageSource::FromBuffer {
        buffer: image,
        file_path: None,
    };
    match boot::load_image(boot::image_handle(), source) {
        Ok(handle) => {
            // An image that stays loaded only costs memory.
            let _ = boot::unload_image(handle);
            Status::SUCCESS.0
        }
        Err(error) => error.status().0 & !Status::ERROR_BIT,
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("walker: failed {info}");
    power_off()
}
