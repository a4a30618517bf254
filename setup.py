# SPDX-License-Identifier: MIT
"""setup.py: builds the Python package: libchx and its plugins by configure and make, then the extension over them.

What goes into the wheel: chx/*.py, chx/_core*.so, chx/lib/libchx.so.0 and libchx-nn.so.0, chx/lib/chx/plugins/chx_*.so, and the
command, chx/bin/chx. _core finds libchx beside itself, and libchx its plugins beside itself, so the wheel may be anywhere on a machine
that has the libraries these were linked with (ldd says which): its tag is linux_x86_64, not manylinux. From the environment:

  CHX_BUILD          an existing build folder to take the libraries from; without it one is made in build-python/
  CHX_WITH           the backends, "native,dnnl"; without it those that this machine can build
  CHX_BUILD_CUDA     0: without cuda; 1: with it, or an error, whatever CHX_WITH says
  CUDA_PATH          where CUDA is
  CUDNN_ROOT_DIR     where cuDNN is
"""
import glob
import os
import re
import shutil
import subprocess

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = os.path.dirname(os.path.abspath(__file__))


def version():
    with open(os.path.join(HERE, "include", "chx", "chx.h")) as f:
        return ".".join(re.findall(r"^#define CHX_VERSION_[A-Z]+ (\d+)", f.read(), re.M))


def configure_arguments(env):
    """What the environment asks for, as arguments of configure."""
    with open(os.path.join(HERE, "configure.ac")) as f:
        named = re.findall(r"^CHX_WITH\(\[(\w+)\]", f.read(), re.M)
    backends = [n for n in named if os.path.isdir(os.path.join(HERE, "plugins", n))]
    chosen = {}
    if env.get("CHX_WITH"):
        wanted = [w.strip() for w in env["CHX_WITH"].split(",") if w.strip()]
        unknown = sorted(set(wanted) - set(backends) - {"native"})
        if unknown:
            raise SystemExit("CHX_WITH names %s, want some of native, %s" % (", ".join(unknown), ", ".join(backends)))
        chosen = {n: "yes" if n in wanted else "no" for n in backends}
    if env.get("CHX_BUILD_CUDA"):
        if env["CHX_BUILD_CUDA"] not in ("0", "1"):
            raise SystemExit("CHX_BUILD_CUDA is %r, want 0 or 1" % env["CHX_BUILD_CUDA"])
        chosen["cuda"] = "no" if env["CHX_BUILD_CUDA"] == "0" else "yes"
    if chosen.get("cuda") != "no":
        for name, variable, header in (("cuda", "CUDA_PATH", "nvrtc.h"), ("cudnn", "CUDNN_ROOT_DIR", "cudnn.h")):
            if env.get(variable):
                if not os.path.isfile(os.path.join(env[variable], "include", header)):
                    raise SystemExit("%s is %r, want a folder that has include/%s" % (variable, env[variable], header))
                chosen[name] = os.path.abspath(env[variable])
    return ["--with-%s=%s" % item for item in sorted(chosen.items())]


def need_tools():
    """configure and make want these; a C compiler and zlib are looked for by configure."""
    tools = {"make": "make", "pkg-config": "pkg-config"}
    if not os.path.exists(os.path.join(HERE, "configure")):
        tools.update({"autoconf": "autoconf", "automake": "automake", "libtoolize": "libtool"})
    missing = sorted(t for t in tools if not shutil.which(t))
    if missing:
        packages = " ".join(sorted(tools[t] for t in missing))
        raise SystemExit("building libchx wants %s, which PATH has not: on Debian, apt-get install %s" % (", ".join(missing), packages))


def native_build(env):
    """The folder of a build of the libraries, made or brought up to date."""
    if env.get("CHX_BUILD"):
        folder = os.path.abspath(env["CHX_BUILD"])
        for name in ("libchx.so.0", "libchx-nn.so.0", "chx"):
            if not os.path.exists(os.path.join(folder, ".libs", name)):
                raise SystemExit("CHX_BUILD is %s, which has no .libs/%s, want a folder where 'make all' was run" % (folder, name))
        return folder
    folder = os.path.join(HERE, "build-python", "native")
    arguments = configure_arguments(env)
    need_tools()
    record = os.path.join(folder, "arguments")
    os.makedirs(folder, exist_ok=True)
    if os.path.exists(record):
        with open(record) as f:
            if f.read() != repr(arguments):
                shutil.rmtree(folder)
                os.makedirs(folder)
    with open(record, "w") as f:
        f.write(repr(arguments))
    subprocess.check_call([os.path.join(HERE, "scripts", "build"), folder] + arguments)
    return folder


def bundle(folder, package):
    """Copies the libraries of a build, and the command, into the package, without what debuggers read."""
    plugins = os.path.join(package, "lib", "chx", "plugins")
    for made in ("lib", "bin"):
        shutil.rmtree(os.path.join(package, made), ignore_errors=True)
    os.makedirs(plugins)
    os.makedirs(os.path.join(package, "bin"))
    copies = [(os.path.join(folder, ".libs", "libchx.so.0"), os.path.join(package, "lib", "libchx.so.0"))]
    copies += [(os.path.join(folder, ".libs", "libchx-nn.so.0"), os.path.join(package, "lib", "libchx-nn.so.0"))]
    copies += [(os.path.join(folder, ".libs", "chx"), os.path.join(package, "bin", "chx"))]
    copies += [(p, os.path.join(plugins, os.path.basename(p))) for p in glob.glob(os.path.join(folder, ".libs", "chx_*.so"))]
    for source, target in copies:
        shutil.copy(source, target)
        if shutil.which("strip"):
            subprocess.check_call(["strip", "--strip-debug", target])
        look_beside(target, os.path.join(os.path.realpath(folder), ".libs"))


def look_beside(path, built_in):
    """Where a library would be looked for in the build's folder, it is looked for beside the file: the text of its run path is
    replaced by a shorter one."""
    with open(path, "rb") as f:
        data = f.read()
    old = built_in.encode() + b"\0"
    if old in data:
        with open(path, "wb") as f:
            f.write(data.replace(old, b"$ORIGIN".ljust(len(old), b"\0")))


class Build(build_ext):
    def run(self):
        self.native = native_build(os.environ)
        bundle(self.native, os.path.dirname(os.path.abspath(self.get_ext_fullpath("chx._core"))))
        super().run()

    def build_extension(self, ext):
        ext.library_dirs = [os.path.join(self.native, ".libs")]
        super().build_extension(ext)


if __name__ == "__main__":
    setup(
        name="chx",
        version=version(),
        package_dir={"": "python"},
        packages=["chx"],
        package_data={"chx": ["py.typed", "*.pyi"]},
        include_package_data=False,  # else a folder would be written into the sources
        cmdclass={"build_ext": Build},
        ext_modules=[
            Extension(
                "chx._core",
                sorted(glob.glob("python/src/*.c")),
                depends=glob.glob("python/src/*.h") + glob.glob("include/chx/*"),
                include_dirs=["include"],
                libraries=["chx-nn", "chx"],
                runtime_library_dirs=["$ORIGIN/lib"],
                extra_compile_args=["-std=gnu11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wshadow"],
            )
        ],
    )
