//! A real PostgreSQL server of a test's own, on a free port of this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// The server; stopped when dropped.
pub(crate) struct Postgres {
    /// Where it is reached.
    pub(crate) url: String,
    folder: TempDir,
    port: u16,
    /// The folder of its programs, and the user it runs as when the tests run as root.
    programs: PathBuf,
    as_user: Option<&'static str>,
}

impl Postgres {
    /// A server with an empty database, or why there is none.
    pub(crate) fn create() -> Result<Postgres, &'static str> {
        let programs = programs().ok_or("PostgreSQL's initdb and pg_ctl are not here")?;
        let as_user = rustix::process::geteuid().is_root().then_some("postgres");
        // Its folder is its user's; so is every folder on the way there.
        let folder = tempfile::Builder::new().prefix("gollem-postgres").tempdir().unwrap();
        if let Some(user) = as_user {
            let owned = Command::new("chown").arg(user).arg(folder.path()).status();
            owned.ok().filter(ExitStatus::success).ok_or("no folder can be given to its user")?;
        }
        let mut postgres = Postgres { url: String::new(), folder, port: 0, programs, as_user };
        postgres.run("initdb", &["-A", "trust", "-U", "gollem", "-N"])?;
        // Another may take the port before it does.
        let mut started = Err("no port");
        for _ in 0..3 {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            (postgres.port, postgres.url) = (port, format!("postgres://gollem@127.0.0.1:{port}/postgres"));
            started = postgres.start();
            if started.is_ok() {
                break;
            }
        }
        started.map(|()| postgres)
    }

    /// Starts it, for the first time or again.
    pub(crate) fn start(&self) -> Result<(), &'static str> {
        let (folder, port) = (self.folder.path(), self.port);
        let options = format!("-o-p {port} -k {} -c listen_addresses=127.0.0.1 -F", folder.display());
        let log = format!("-l{}", folder.join("log").display());
        self.run("pg_ctl", &["-w", "start", &log, &options])
    }

    /// Stops it; what it holds stays.
    pub(crate) fn stop(&self) -> Result<(), &'static str> {
        self.run("pg_ctl", &["-w", "-m", "fast", "stop"])
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), &'static str> {
        let program = self.programs.join(program);
        let mut command = match self.as_user {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.args(arguments).arg("-D").arg(self.folder.path().join("data"));
        command.current_dir(Path::new("/")).stdin(Stdio::null()).stdout(Stdio::null());
        let ended = command.stderr(Stdio::null()).status().map_err(|_| "PostgreSQL cannot be started as its user")?;
        if ended.success() { Ok(()) } else { Err("PostgreSQL's own programs fail here") }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may be stopped already.
        self.run("pg_ctl", &["-m", "immediate", "stop"]).ok();
    }
}

fn programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    // Where Debian keeps them.
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    folders.into_iter().find(|folder| ["initdb", "pg_ctl"].iter().all(|name| folder.join(name).exists()))
}
