# SPDX-License-Identifier: MIT
"""setup.py: builds the Python package: libchx and its plugins by configure and make, then the extension over them.

What goes into the wheel: chx/*.py, chx/_core*.so, chx/lib/libchx.so.0 and chx/lib/chx/plugins/chx_*.so. _core finds libchx beside
itself, and libchx its plugins beside itself, so the wheel may be anywhere. From the environment:

  CHX_BUILD          an existing build folder to take the libraries from; without it one is made in build-python/
  CHX_WITH           the backends, "native,dnnl"; without it those that this machine can build
  CHX_BUILD_CUDA     0: without cuda, 1: with it, or an error
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
    if env.get("CHX_BUILD_CUDA") not in (None, ""):
        chosen["cuda"] = "no" if env["CHX_BUILD_CUDA"] == "0" else "yes"
    if chosen.get("cuda") != "no":
        for name, variable in (("cuda", "CUDA_PATH"), ("cudnn", "CUDNN_ROOT_DIR")):
            if env.get(variable):
                chosen[name] = env[variable]
    return ["--with-%s=%s" % item for item in sorted(chosen.items())]


def native_build(env):
    """The folder of a build of the libraries, made or brought up to date."""
    if env.get("CHX_BUILD"):
        return os.path.abspath(env["CHX_BUILD"])
    folder = os.path.join(HERE, "build-python", "native")
    arguments = configure_arguments(env)
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
    """Copies the libraries of a build into the package, without what debuggers read."""
    plugins = os.path.join(package, "lib", "chx", "plugins")
    shutil.rmtree(os.path.join(package, "lib"), ignore_errors=True)
    os.makedirs(plugins)
    copies = [(os.path.join(folder, ".libs", "libchx.so.0"), os.path.join(package, "lib", "libchx.so.0"))]
    copies += [(p, os.path.join(plugins, os.path.basename(p))) for p in glob.glob(os.path.join(folder, ".libs", "chx_*.so"))]
    for source, target in copies:
        shutil.copy(source, target)
        if shutil.which("strip"):
            subprocess.check_call(["strip", "--strip-debug", target])


class Build(build_ext):
    def run(self):
        self.native = native_build(os.environ)
        bundle(self.native, os.path.dirname(os.path.abspath(self.get_ext_fullpath("chx._core"))))
        super().run()

    def build_extension(self, ext):
        ext.library_dirs = [os.path.join(self.native, ".libs")]
        super().build_extension(ext)


setup(
    name="chx",
    version=version(),
    package_dir={"": "python"},
    packages=["chx"],
    include_package_data=False,  # else a folder would be written into the sources
    cmdclass={"build_ext": Build},
    ext_modules=[
        Extension(
            "chx._core",
            sorted(glob.glob("python/src/*.c")),
            depends=glob.glob("python/src/*.h") + glob.glob("include/chx/*"),
            include_dirs=["include"],
            libraries=["chx"],
            runtime_library_dirs=["$ORIGIN/lib"],
            extra_compile_args=["-std=gnu11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wshadow"],
        )
    ],
)
