//! Compiles each `bpf/*.bpf.c` to a skeleton in `OUT_DIR` and `bpf/native.c`, the tap's program for user space, to a
//! static library; and stamps the binary with its commit and build time.
//!
//! It does not fetch anything: clang and a C compiler are the only tools it needs besides cargo.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use libbpf_cargo::SkeletonBuilder;

/// clang 14 without v3 cannot return the result of `__sync_fetch_and_add`.
const CLANG_ARGS: [&str; 5] = ["-mcpu=v3", "-Wall", "-Wextra", "-Werror", "-Ibpf"];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo:rerun-if-changed=bpf");
    let asm_headers = asm_headers();
    for source in bpf_sources() {
        let name = source.file_name().and_then(|name| name.to_str()).expect("BPF file names are ASCII");
        let skeleton = out.join(name.replace(".bpf.c", ".skel.rs"));
        SkeletonBuilder::new()
            .source(&source)
            .clang_args(CLANG_ARGS.iter().copied().chain(asm_headers.as_deref()))
            .build_and_generate(&skeleton)
            .unwrap_or_else(|error| panic!("{}: {error:#}", source.display()));
    }
    compile_native();
    stamp();
}

/// The same C as a static library. Optimised in every profile: it runs once for each packet.
fn compile_native() {
    cc::Build::new()
        .file("bpf/native.c")
        .include("bpf")
        .std("gnu11")
        .opt_level(2)
        .flag("-fno-strict-aliasing") // headers are read where they lie, as in the kernel
        .flag("-ftls-model=initial-exec") // the library is linked into programs only
        .flag("-Werror=implicit-function-declaration")
        .flag_if_supported("-Wno-unknown-pragmas")
        .compile("telegen_native");
}

/// Debian keeps `asm/types.h` in a directory per architecture, where clang's bpf target does not look: the architecture's own
/// directory, or the one of its cross compiler. Elsewhere the headers are where every compiler looks.
fn asm_headers() -> Option<String> {
    let machine = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    let places = [format!("/usr/include/{machine}-linux-gnu"), format!("/usr/{machine}-linux-gnu/include")];
    let place = places.into_iter().find(|place| Path::new(place).join("asm/types.h").exists());
    place.map(|place| format!("-I{place}"))
}

fn bpf_sources() -> Vec<PathBuf> {
    let mut sources: Vec<PathBuf> = fs::read_dir("bpf")
        .expect("the bpf directory is part of the project")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".bpf.c"))
        .collect();
    sources.sort();
    sources
}

/// `TELEGEN_COMMIT` and `TELEGEN_BUILT_AT` for `--version`; `SOURCE_DATE_EPOCH` makes the build reproducible.
fn stamp() {
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    // HEAD names a branch, and it is the branch's file that a commit changes; both may be elsewhere in a worktree.
    let branch = output("git", &["symbolic-ref", "-q", "HEAD"]);
    for name in ["HEAD", "packed-refs"].map(str::to_owned).into_iter().chain(branch) {
        let path = output("git", &["rev-parse", "--git-path", &name]).filter(|path| Path::new(path).exists());
        if let Some(path) = path {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    let epoch = env::var("SOURCE_DATE_EPOCH").ok().or_else(|| output("git", &["show", "-s", "--format=%ct", "HEAD"]));
    let built_at = epoch
        .and_then(|seconds| output("date", &["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"]))
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=TELEGEN_COMMIT={commit}");
    println!("cargo:rustc-env=TELEGEN_BUILT_AT={built_at}");
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
