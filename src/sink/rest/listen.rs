//! Where the shim listens: a unix socket, or TCP on a loopback address.
//!
//! Anything but loopback needs mutual TLS, which is reserved; `model::settings` refuses it too.

use std::fs::{self, Permissions};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::limits::Limits;
use super::server::{self, Seats};

/// Owner and group may connect (contract, section 3).
const SOCKET_MODE: u32 = 0o660;

/// Why the shim cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Neither a path nor a loopback address.
    #[error(
        "rest_listen: \"{listen}\" is not accepted; give an absolute path for a unix socket, or a loopback address such as \
         127.0.0.1:8080 (other addresses need mutual TLS, which is not built into this version)"
    )]
    NotAccepted {
        /// The setting.
        listen: String,
    },
    /// Another process serves the socket.
    #[error("rest_listen: {path}: another process answers there; stop it, or choose another path", path = path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The path is something other than a socket; it is left alone.
    #[error("rest_listen: {path}: exists and is not a socket; choose another path", path = path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("rest_listen: {listen}: {source}")]
    Io {
        /// The setting.
        listen: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A listening socket.
pub struct Bound {
    socket: Socket,
    limits: Limits,
    complaint: Option<String>,
}

enum Socket {
    Unix(UnixListener, SocketFile),
    Tcp(TcpListener),
}

impl Bound {
    fn new(socket: Socket) -> Bound {
        let (limits, complaint) = Limits::of_process();
        Bound { socket, limits, complaint }
    }

    /// What is served within other limits than those of this process.
    #[must_use]
    pub fn limited(self, limits: Limits) -> Bound {
        Bound { limits, complaint: None, ..self }
    }

    /// What is served at the most.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Why fewer clients are served than could be, if that is so.
    #[must_use]
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// The address, if it is TCP: the way to learn a port that the system chose.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Unix(..) => None,
            Socket::Tcp(listener) => listener.local_addr().ok(),
        }
    }

    pub(super) async fn serve(self, app: Router, seats: Arc<Seats>, closed: impl Future<Output = ()>) {
        match self.socket {
            Socket::Unix(listener, _file) => server::run(listener, app, self.limits, seats, closed).await,
            Socket::Tcp(listener) => server::run(listener, app, self.limits, seats, closed).await,
        }
    }
}

/// Listens on the unix socket `listen` (mode 0660; the directory is made if it is missing, a socket that nobody serves is replaced), or
/// on the loopback address `listen`.
///
/// # Errors
/// See [`ListenError`].
pub async fn bind(listen: &str) -> Result<Bound, ListenError> {
    let io = |source| ListenError::Io { listen: listen.to_owned(), source };
    if listen.starts_with('/') {
        return bind_unix(Path::new(listen)).await;
    }
    match listen.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => {
            Ok(Bound::new(Socket::Tcp(TcpListener::bind(address).await.map_err(io)?)))
        }
        Ok(_) | Err(_) => Err(ListenError::NotAccepted { listen: listen.to_owned() }),
    }
}

async fn bind_unix(path: &Path) -> Result<Bound, ListenError> {
    let io = |source| ListenError::Io { listen: path.display().to_string(), source };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(io)?;
    }
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ListenError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => match UnixStream::connect(path).await {
            Ok(_) => return Err(ListenError::InUse { path: path.to_owned() }),
            Err(error) => match error.kind() {
                // Nobody listens, or the file has gone meanwhile.
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {}
                // Somebody does, and has as many waiting as it takes.
                io::ErrorKind::WouldBlock => return Err(ListenError::InUse { path: path.to_owned() }),
                _ => return Err(io(error)),
            },
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    // Under another name first, so that the socket never exists with a mode that the umask chose, and a stale one is replaced at once.
    let new = path.with_extension(format!("{}.new", std::process::id()));
    let bound = bind_as(&new, path);
    if bound.is_err() {
        let _ = fs::remove_file(&new);
    }
    bound.map_err(io)
}

fn bind_as(new: &Path, path: &Path) -> io::Result<Bound> {
    let listener = UnixListener::bind(new)?;
    fs::set_permissions(new, Permissions::from_mode(SOCKET_MODE))?;
    let inode = fs::metadata(new)?.ino();
    fs::rename(new, path)?;
    Ok(Bound::new(Socket::Unix(listener, SocketFile { path: path.to_owned(), inode })))
}

/// The socket's file, removed when dropped, unless another one has taken its place.
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
