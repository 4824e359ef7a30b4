//! libtorch from packages: the wheel of PyTorch without Python, in `.libtorch`.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{
    folder::{self, Look},
    packages::{self, Package},
    workspace,
};

const VERSION: &str = "2.13.0";

/// Which devices libtorch computes on.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Flavour {
    /// 580 MB to download, 0.5 GB in `.libtorch`.
    Cpu,
    /// 2.5 GB to download, 3.6 GB in `.libtorch`.
    Cuda,
}

const TORCH: Package = Package {
    file: "torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    sha256: "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7",
};

/// What the CPU library of this wheel is linked with.
const CUDA_STUMPS: [Package; 2] = [
    Package {
        file: "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    },
    Package {
        file: "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl",
        sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
    },
];

/// The other libraries that the wheel's metadata asks for on Linux.
const CUDA: [Package; 13] = [
    Package {
        file: "nvidia_cublas-13.1.1.3-py3-none-manylinux_2_27_x86_64.whl",
        sha256: "37936a16db8fe4ac1f065c2139360608a543a09275cb1a1af612e08cfa065436",
    },
    Package {
        file: "nvidia_cuda_nvrtc-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
        sha256: "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
    },
    Package {
        file: "nvidia_cudnn_cu13-9.20.0.48-py3-none-manylinux_2_27_x86_64.whl",
        sha256: "0c45dd8eeb50b603f07995b1b300c62ffe6a1980482b82b3bcf94a4ca9d49304",
    },
    Package {
        file: "nvidia_cufft-12.0.0.61-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        sha256: "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3",
    },
    Package {
        file: "nvidia_cufile-1.15.1.6-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        sha256: "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44",
    },
    Package {
        file: "nvidia_curand-10.4.0.35-py3-none-manylinux_2_27_x86_64.whl",
        sha256: "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc",
    },
    Package {
        file: "nvidia_cusolver-12.0.4.66-py3-none-manylinux_2_27_x86_64.whl",
        sha256: "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112",
    },
    Package {
        file: "nvidia_cusparse-12.6.3.3-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        sha256: "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b",
    },
    Package {
        file: "nvidia_cusparselt_cu13-0.8.1-py3-none-manylinux2014_x86_64.whl",
        sha256: "786ce87568c303fadb5afcc7102d454cd3040d75f6f8626f5db460d1871f4dd0",
    },
    Package {
        file: "nvidia_nccl_cu13-2.29.7-py3-none-manylinux_2_18_x86_64.whl",
        sha256: "edd81538446786ec3b73972543e53bb43bcaf0bfc8ef76cb679fcc390ffe136d",
    },
    Package {
        file: "nvidia_nvjitlink-13.5.37-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl",
        sha256: "280d7cb9649704145f074b8dbde500de04ce02d0872e066e20a83c17bcaa93eb",
    },
    Package {
        file: "nvidia_nvshmem_cu13-3.4.5-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        sha256: "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80",
    },
    Package {
        file: "nvidia_nvtx-13.0.85-py3-none-manylinux1_x86_64.manylinux_2_5_x86_64.whl",
        sha256: "4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4",
    },
];

impl Flavour {
    fn recipe(self) -> String {
        let name = if self == Self::Cpu { "cpu" } else { "cuda" };
        format!("libtorch {VERSION} {name}, layout 1")
    }

    fn fill(self, partial: &Path) -> Result<()> {
        let lib = partial.join("lib");
        match self {
            Self::Cpu => {
                unpack_flat(partial)?;
                link_stub(&lib)?;
            }
            Self::Cuda => {
                // Beside each other as in Python's packages, where the libraries look for theirs.
                let library = |name: &str| format!("torch/lib/{name}.so");
                let names = CUDA_LIBRARIES.map(library);
                let mut picks: Vec<_> = names.iter().map(|name| (&**name, &**name)).collect();
                picks.extend([
                    ("torch/include/", "torch/include/"),
                    ("torch/lib/libgomp.so.1", "torch/lib/libgomp.so.1"),
                ]);
                packages::unpack(&TORCH.fetch()?, partial, &picks)?;
                for package in CUDA_STUMPS.iter().chain(&CUDA) {
                    packages::unpack(&package.fetch()?, partial, &[("nvidia/", "nvidia/")])?;
                }
                symlink("torch/include", partial.join("include"))?;
                symlink("torch/lib", lib)?;
            }
        }
        fs::write(partial.join("build-version"), format!("{VERSION}\n")).context("build-version")
    }
}

/// All of the wheel's libraries but the one for Python.
const CUDA_LIBRARIES: [&str; 8] = [
    "libc10",
    "libc10_cuda",
    "libcaffe2_nvrtc",
    "libtorch",
    "libtorch_cpu",
    "libtorch_cuda",
    "libtorch_cuda_linalg",
    "libtorch_nvshmem",
];

/// Puts one flavour into `.libtorch`, in place of the other if that is there.
pub(crate) fn install(flavour: Flavour, verify: bool) -> Result<()> {
    if let Some(setting) = workspace::libtorch_of_user() {
        println!("{setting} is set and wins: .libtorch is left alone");
        return Ok(());
    }
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "there is a packaged libtorch for x86_64 Linux only; elsewhere set LIBTORCH to the folder of \
         a libtorch {VERSION}, or LIBTORCH_USE_PYTORCH=1 with PyTorch {VERSION} installed"
    );
    let home = workspace::libtorch();
    let look = if verify { Look::Contents } else { Look::Sizes };
    let (recipe, before) = (flavour.recipe(), folder::recipe(&home));
    folder::ensure_made(&home, &recipe, look, |partial| flavour.fill(partial))?;
    if before.is_some_and(|before| before != recipe) {
        // Its build script sees the same path and would keep the other flavour's link flags.
        for profile in ["dev", "release"] {
            workspace::cargo(["clean", "--quiet", "--package=torch-sys", "--profile", profile])
                .status()?;
        }
    }
    println!("libtorch {VERSION} is in {}", home.display());
    Ok(())
}

/// What every other errand needs: some libtorch, of whichever flavour is there already.
pub(crate) fn ensure_any() -> Result<()> {
    let flavour = if is_whole(Flavour::Cuda) { Flavour::Cuda } else { Flavour::Cpu };
    install(flavour, false)
}

fn is_whole(flavour: Flavour) -> bool {
    folder::check(&workspace::libtorch(), &flavour.recipe(), Look::Sizes).is_ok()
}

fn unpack_flat(partial: &Path) -> Result<()> {
    let picks = [
        ("torch/include/", "include/"),
        ("torch/lib/libtorch_cpu.so", "lib/libtorch_cpu.so"),
        ("torch/lib/libc10.so", "lib/libc10.so"),
        ("torch/lib/libgomp.so.1", "lib/libgomp.so.1"),
    ];
    packages::unpack(&TORCH.fetch()?, partial, &picks)?;
    let [cudart, cupti] = &CUDA_STUMPS;
    let library = |name| format!("nvidia/cu13/lib/{name}");
    for (package, name) in [(cudart, "libcudart.so.13"), (cupti, "libcupti.so.13")] {
        packages::unpack(&package.fetch()?, partial, &[(&library(name), &format!("lib/{name}"))])?;
    }
    Ok(())
}

/// The wheel's own `libtorch.so` asks for the CUDA libraries; this one only for those that are here.
fn link_stub(lib: &Path) -> Result<()> {
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-o", "libtorch.so", "-L.", "-Wl,--no-as-needed", "-ltorch_cpu", "-lc10"]);
    cc.arg("-Wl,-rpath,$ORIGIN").current_dir(lib);
    let status = cc.status().context("a C compiler named cc is needed: install gcc and g++")?;
    ensure!(status.success(), "linking libtorch.so failed: see above");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_workspace_s() {
        let manifest = fs::read_to_string(workspace::root().join("Cargo.toml")).unwrap();
        let line = format!("[workspace.metadata.libtorch]\nversion = {VERSION:?}");
        assert!(manifest.contains(&line), "Cargo.toml names another libtorch");
        assert!(TORCH.file.contains(VERSION));
    }
}
