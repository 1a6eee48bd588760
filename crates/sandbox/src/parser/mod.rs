//! Runs a parser on its stage.

mod kfuncs;
mod places;
mod results;

use std::sync::Arc;

use kpeel_abi::{Context, Helper};
use kpeel_bpf::{Access, Budget, Calls, Memory, run};
use kpeel_envelope::error::{Class, Error, Needed, Result};
use kpeel_envelope::host::Stage;
use kpeel_envelope::limits::{ABI_SIZE_MAX, Limits};
use kpeel_envelope::publication::{Origin, Run};

use crate::answer::{Answer, Stop, negative};
use crate::buffer::{Buffer, Charge};
use crate::env::{Env, stray};
use crate::event::{Caller, Event};
use crate::helpers;
use crate::loader::{Loaded, Skeleton, unmappable};
use crate::map::{Map, Maps};

use places::Places;
use results::Results;

/// A parser that is loaded and has its stage before it.
#[derive(Debug)]
pub(crate) struct Session {
    memory: Memory,
    maps: Maps,
    main: Arc<Loaded>,
    post: Option<Arc<Loaded>>,
    places: Places,
    results: Results,
    /// Bytes of the image that were not decompressed yet.
    unread: u64,
    /// The anchor's argument block: one pointer, to the context.
    arguments: u64,
    _charge: Charge,
}

/// A program at work.
struct Parser<'s, 'e, 't> {
    env: &'s mut Env<'e, 't>,
    maps: &'s mut Maps,
    loaded: &'s Loaded,
    places: &'s mut Places,
    results: &'s mut Results,
    unread: &'s mut u64,
    run: &'s mut Run<Buffer>,
    caller: Caller,
}

impl Session {
    /// Puts a stage before a loaded parser.
    pub(crate) fn new(
        skeleton: Skeleton,
        stage: &Stage<'_, Buffer>,
        env: &Env<'_, '_>,
    ) -> Result<Self> {
        let Skeleton {
            mut memory,
            maps,
            main,
            post,
            ..
        } = skeleton;
        let head_len = stage.covered.head_len();
        let charge = Charge::new(env.meter, head_len as u64)?;
        let mut places = Places::default();
        let (image, image_sz) = map_image(stage, head_len, &mut memory, &mut places)?;
        let mut context = Context {
            kdump: stage.crash.into(),
            image,
            image_sz,
            ..Context::default()
        };
        if let Some(initrd) = stage.initrd {
            let (base, size) = map_input("initrd", initrd, &mut memory)?;
            places.add(base, "initrd", Origin::CallerInitrd, 0);
            (context.initrd, context.initrd_sz) = (base, size);
        }
        if let Some(cmdline) = stage.cmdline {
            let (base, size) = map_input("command line", cmdline, &mut memory)?;
            places.add(base, "cmdline", Origin::CallerCmdline, 0);
            (context.cmdline, context.cmdline_sz) = (base, size);
        }
        let mut map = |bytes: Vec<u8>| {
            memory
                .map_owned(bytes, Access::ReadOnly)
                .map_err(unmappable)
        };
        let context = map(context.to_bytes().to_vec())?;
        let arguments = map(context.to_le_bytes().to_vec())?;
        Ok(Self {
            memory,
            maps,
            main,
            post,
            places,
            results: Results::default(),
            unread: stage.covered.len as u64,
            arguments,
            _charge: charge,
        })
    }

    /// Runs the program on the first anchor.
    pub(crate) fn run(
        &mut self,
        env: &mut Env<'_, '_>,
        budget: &mut Budget,
    ) -> Result<Run<Buffer>> {
        let main = Arc::clone(&self.main);
        self.execute(&main, Caller::Parser, env, budget)
    }

    /// Runs the program on the second anchor, if there is one.
    pub(crate) fn post(&mut self, env: &mut Env<'_, '_>, budget: &mut Budget) -> Result<()> {
        if let Some(post) = self.post.clone() {
            self.execute(&post, Caller::Post, env, budget)?;
        }
        Ok(())
    }

    fn execute(
        &mut self,
        loaded: &Loaded,
        caller: Caller,
        env: &mut Env<'_, '_>,
        budget: &mut Budget,
    ) -> Result<Run<Buffer>> {
        let mut run_of = Run::new();
        let before = budget.left();
        let mut parser = Parser {
            env,
            maps: &mut self.maps,
            loaded,
            places: &mut self.places,
            results: &mut self.results,
            unread: &mut self.unread,
            run: &mut run_of,
            caller,
        };
        let result = run(
            &loaded.program,
            &[self.arguments],
            &mut self.memory,
            &mut parser,
            budget,
        );
        let executed = before.saturating_sub(budget.left());
        let value = result.map_err(|trap| env.trapped(caller, &trap, executed))?;
        env.trace.tell(|depth| Event::End {
            depth,
            caller,
            instructions: executed,
            result: Ok(value),
        });
        if value != 0 {
            // Linux's verifier takes only fentry programs that return 0.
            let needed = Needed::Exactly(0);
            return Err(Error::malformed("parser program's result", value, needed));
        }
        Ok(run_of)
    }
}

/// The image as the parser may see it: covered bytes, with what no signature covers zeroed.
fn map_image(
    stage: &Stage<'_, Buffer>,
    head_len: usize,
    memory: &mut Memory,
    places: &mut Places,
) -> Result<(u64, i32)> {
    let body = stage.image.bytes();
    let outside = Error::reason(Class::Bug, "covered bytes", "end outside of the image");
    let len = stage.covered.len;
    let mut head = body.get(..head_len.min(len)).ok_or(outside)?.to_vec();
    stage.covered.zero(&mut head);
    let body = (len <= body.len())
        .then(|| body.slice(..len))
        .ok_or(outside)?;
    let size = abi_size("image", len)?;
    let patched = head.len() as u64;
    let base = memory.map_patched(head, body).map_err(unmappable)?;
    places.add(base, "image", Origin::Image, patched);
    Ok((base, size))
}

fn map_input(name: &'static str, bytes: &Buffer, memory: &mut Memory) -> Result<(u64, i32)> {
    let size = abi_size(name, bytes.len())?;
    Ok((
        memory
            .map_shared(bytes.bytes().clone())
            .map_err(unmappable)?,
        size,
    ))
}

/// A size as the context can hold it.
fn abi_size(name: &'static str, size: usize) -> Result<i32> {
    Limits::check(name, size as u64, ABI_SIZE_MAX)?;
    i32::try_from(size).map_err(|_| Error::bound(name, size as u64, ABI_SIZE_MAX))
}

impl Parser<'_, '_, '_> {
    /// Turns an answer into register 0; a refusal is kept as a hint for what the stage ends with.
    fn answer(&mut self, answer: Answer<u64>, refused: impl FnOnce(i32) -> u64) -> Result<u64> {
        match answer {
            Ok(value) => Ok(value),
            Err(Stop::Abort(error)) => Err(error),
            Err(Stop::Deny(errno, error)) => {
                self.run.hint(error);
                self.env.trace.tell(|depth| Event::Refusal { depth, error });
                Ok(refused(errno))
            }
        }
    }

    fn ring(&mut self, handle: u64) -> Answer<&mut Map> {
        let id = Maps::by_handle(handle).filter(|id| self.loaded.maps.contains(id));
        id.and_then(|id| self.maps.get_mut(id))
            .filter(|map| map.kind == kpeel_abi::MapType::Ringbuf)
            .ok_or(Stop::Abort(stray("ring buffer")))
    }

    fn reserve(&mut self, memory: &mut Memory, args: [u64; 5]) -> Answer<u64> {
        let [handle, size, flags, ..] = args;
        let map = self.ring(handle)?;
        let record = if flags == 0 {
            map.ring.reserve(map.base, size, memory)
        } else {
            0
        };
        let name = map.attributes.name.clone();
        let arguments = || format!("{name}, {size}, {flags}");
        self.env
            .called(self.caller, "ringbuf_reserve", arguments, record);
        Ok(record)
    }

    fn commit(&mut self, memory: &mut Memory, record: u64, discard: bool) -> Answer<u64> {
        let base = memory.region(record).map(|region| region.base);
        let maps = &self.loaded.maps;
        let id = self
            .maps
            .iter()
            .find(|(id, map)| Some(map.base) == base && maps.contains(id))
            .map(|(id, _)| id);
        let map = id.and_then(|id| self.maps.get_mut(id));
        if !map.is_some_and(|map| map.ring.commit(record, discard, memory)) {
            return Err(Stop::Abort(stray("ring buffer record")));
        }
        let name = if discard {
            "ringbuf_discard"
        } else {
            "ringbuf_submit"
        };
        self.env
            .called(self.caller, name, || format!("{record:#x}"), 0);
        Ok(0)
    }

    fn query(&mut self, args: [u64; 5]) -> Answer<u64> {
        let [handle, what, ..] = args;
        let value = self.ring(handle)?.ring.query(what);
        self.env
            .called(self.caller, "ringbuf_query", || what.to_string(), value);
        Ok(value)
    }
}

impl Calls for Parser<'_, '_, '_> {
    type Error = Error;

    fn helper(&mut self, memory: &mut Memory, id: u32, args: [u64; 5]) -> Result<u64> {
        let [first, ..] = args;
        let answer = match Helper::from_id(id) {
            Some(Helper::RingbufReserve) => self.reserve(memory, args),
            Some(Helper::RingbufSubmit) => self.commit(memory, first, false),
            Some(Helper::RingbufDiscard) => self.commit(memory, first, true),
            Some(Helper::RingbufQuery) => self.query(args),
            Some(helper) => {
                let (places, maps) = (&*self.places, &*self.maps);
                let show = |memory: &Memory, address| places.show(address, memory, maps);
                helpers::common(helper, memory, args, self.env, self.caller, &show)
            }
            None => Err(Stop::Abort(Error::reason(
                Class::Bug,
                "helper",
                "was not refused",
            ))),
        };
        self.answer(answer, negative)
    }

    fn kfunc(&mut self, memory: &mut Memory, token: u32, args: [u64; 5]) -> Result<u64> {
        self.call(memory, token, args)
    }
}
