//! The emulator, and the serial line to the board in it.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sds_firmware::frame::{Frames, FromBoard, ToBoard, decode, encode};
use tempfile::TempDir;

/// Maximum silence before the board counts as dead. In a run it is milliseconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// One instruction of the board takes 2^5 nanoseconds, and sleeping takes none of ours.
const ICOUNT: &str = "shift=5,sleep=off,align=off";
/// Length of an instruction in nanoseconds, as [`ICOUNT`] says.
pub(crate) const INSTRUCTION_NS: u64 = 32;
/// Length of a cycle of the board's timer.
pub(crate) const CYCLE_NS: u64 = 40;

pub(crate) struct Qemu {
    process: Child,
    line: BufReader<UnixStream>,
    frames: Frames,
    out: Vec<u8>,
    /// The socket's.
    _folder: TempDir,
}

impl Qemu {
    pub(crate) fn start(firmware: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("line");
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        let mut process = Command::new("qemu-system-arm")
            .args(["-machine", "mps2-an386", "-display", "none", "-monitor", "none"])
            .args(["-icount", ICOUNT, "-semihosting-config", "enable=on,target=native"])
            .arg("-chardev")
            .arg(format!("socket,id=line,path={}", path.display()))
            .args(["-serial", "chardev:line", "-kernel"])
            .arg(firmware)
            .stdin(Stdio::null())
            .spawn()
            .context("qemu-system-arm does not start; is it installed?")?;
        let line = match accept(&listener, &mut process) {
            Ok(line) => line,
            Err(error) => {
                end(&mut process);
                return Err(error);
            }
        };
        line.set_nonblocking(false)?;
        line.set_read_timeout(Some(PATIENCE))?;
        let (frames, out) = (Frames::default(), Vec::new());
        Ok(Self { process, line: BufReader::new(line), frames, out, _folder: folder })
    }

    /// The next that the board says, handed to `take`.
    pub(crate) fn hear<T>(&mut self, take: impl FnOnce(FromBoard<'_>) -> T) -> Result<T> {
        loop {
            let mut byte = [0];
            match self.line.read(&mut byte) {
                Ok(0) => bail!("the board is gone: it panicked, or the emulator failed"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    bail!("the board said nothing for {} s", PATIENCE.as_secs())
                }
                Err(error) => return Err(error).context("the line to the board"),
            }
            let Some(frame) = self.frames.push(byte[0]) else { continue };
            // An incomplete frame was cut off by a power failure.
            if let Some(message) = decode(frame) {
                return Ok(take(message));
            }
        }
    }

    /// Says something with the next [`flush`](Self::flush).
    pub(crate) fn say(&mut self, message: &ToBoard<'_>) {
        encode(message, &mut self.out);
    }

    /// Says something that arrives with a wrong bit.
    pub(crate) fn say_damaged(&mut self, message: &ToBoard<'_>, bit: u32) {
        let start = self.out.len();
        encode(message, &mut self.out);
        // Not in the zero that ends it: the frame after it must arrive.
        let len = self.out.len() - 1 - start;
        self.out[start + bit as usize / 8 % len] ^= 1 << (bit % 8);
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        // A board that has gone is noticed when it is listened to.
        match self.line.get_mut().write_all(&self.out) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
            _ => self.out.clear(),
        }
        Ok(())
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

fn accept(listener: &UnixListener, process: &mut Child) -> Result<UnixStream> {
    let start = Instant::now();
    loop {
        match listener.accept() {
            Ok((line, _)) => return Ok(line),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(status) = process.try_wait()? {
            bail!("qemu-system-arm ended before it had begun: {status}");
        }
        if start.elapsed() > PATIENCE {
            bail!("qemu-system-arm did not connect");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn end(process: &mut Child) {
    // It may have ended by itself.
    let _ended = process.kill();
    let _reaped = process.wait();
}
