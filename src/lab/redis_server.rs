//! A redis-server of its own, configured as SONiC's database container configures it, that ends with whoever started it.
//!
//! Settings: sonic-buildimage `Dockerfile.common.j2` of docker-database.

use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// A start takes a few milliseconds; loaded machines take longer.
const START_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);
const DUMP: &str = "dump.rdb";

/// Where a server listens and keeps its files.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Its unix socket; at most 107 bytes long, as all unix sockets.
    pub unix_socket: PathBuf,
    /// Its TCP address; none, and it listens on the socket only.
    pub tcp: Option<SocketAddr>,
    /// Existing directory for its configuration, its log and its dump.
    pub dir: PathBuf,
}

/// A running redis-server. Killed when dropped, and by the kernel when the *thread* that started it ends.
#[derive(Debug)]
pub struct RedisServer {
    config: RedisConfig,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// redis-server is not installed, cannot listen, or does not answer within 10 s; the error quotes its log.
    pub fn start(config: &RedisConfig) -> io::Result<RedisServer> {
        let mut server = RedisServer { config: config.clone(), child: None };
        server.start_again()?;
        Ok(server)
    }

    /// The process id, for tests that pause it.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The server's unix socket.
    #[must_use]
    pub fn unix_socket(&self) -> &Path {
        &self.config.unix_socket
    }

    /// Stops and starts. `keep` says whether the data survives.
    ///
    /// # Errors
    /// As [`RedisServer::stop`] and [`RedisServer::start`].
    pub fn restart(&mut self, keep: bool) -> io::Result<()> {
        self.stop(keep)?;
        self.start_again()
    }

    /// Kills the server. With `keep`, its data is saved first and found again by [`RedisServer::start_again`]; without, it is gone.
    ///
    /// # Errors
    /// The data cannot be saved; the server runs on.
    pub fn stop(&mut self, keep: bool) -> io::Result<()> {
        if keep {
            self.ask("SAVE", "+OK")?;
        } else if let Err(error) = fs::remove_file(self.config.dir.join(DUMP))
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        self.kill();
        Ok(())
    }

    /// Starts a stopped server with the data it kept.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub fn start_again(&mut self) -> io::Result<()> {
        let file = self.config.dir.join("redis.conf");
        fs::write(&file, self.settings())?;
        let parent = nix::unistd::getpid();
        let mut command = Command::new("redis-server");
        command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: between fork and exec, only async-signal-safe calls are made: prctl and getppid.
        unsafe {
            command.pre_exec(move || {
                set_pdeathsig(Signal::SIGKILL)?;
                // The parent may have died before the prctl.
                if nix::unistd::getppid() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
            });
        }
        let child = command
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("redis-server: {error}; is it installed?")))?;
        self.child = Some(child);
        self.wait_until_it_answers().inspect_err(|_| self.kill())
    }

    fn settings(&self) -> String {
        let RedisConfig { unix_socket, tcp, dir } = &self.config;
        let listen = tcp.map_or_else(|| "port 0".to_owned(), |tcp| format!("bind {}\nport {}", tcp.ip(), tcp.port()));
        format!(
            "{listen}\nunixsocket \"{}\"\nunixsocketperm 770\ndir \"{}\"\ndbfilename {DUMP}\nlogfile redis.log\n\
             daemonize no\ndatabases 100\nnotify-keyspace-events AKE\nsave \"\"\nappendonly no\n\
             client-output-buffer-limit pubsub 0 0 0\n",
            unix_socket.display(),
            dir.display(),
        )
    }

    fn wait_until_it_answers(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if self.ask("PING", "+PONG").is_ok() {
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                return Err(io::Error::other(format!("redis-server ended at once, {status}: {}", self.end_of_log())));
            }
            if Instant::now() > deadline {
                let text = format!("redis-server did not answer within {START_TIMEOUT:?}: {}", self.end_of_log());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            sleep(POLL);
        }
    }

    /// Sends one inline command and expects the answer to begin with `expected` (a server that is loading says otherwise).
    fn ask(&self, command: &str, expected: &str) -> io::Result<()> {
        let mut socket = UnixStream::connect(&self.config.unix_socket)?;
        socket.set_read_timeout(Some(START_TIMEOUT))?;
        socket.write_all(format!("{command}\r\n").as_bytes())?;
        let mut answer = [0; 256];
        let length = socket.read(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer[..length]);
        if answer.starts_with(expected) {
            Ok(())
        } else {
            Err(io::Error::other(format!("redis-server answered {command} with {:?}", answer.trim_end())))
        }
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.config.dir.join("redis.log")).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error means that it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        // A killed server leaves its socket behind, and clients would take the file for a server.
        let _ = fs::remove_file(&self.config.unix_socket);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
