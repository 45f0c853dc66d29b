"""What there is to plan with: devices, engines, weights, and what was learnt of them.

All the looking that a plan needs is done here, once; what is decided over it is pure. It takes a
second or so: call it in a thread where others wait.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from server.catalogue import Build, Catalogue, EngineName, Model
from server.engines.binary import find_llama_server
from server.engines.devices import list_devices
from server.engines.launching import Programs
from server.engines.observations import Observations
from server.engines.speeds import read_speeds
from server.engines.vllm_binary import find_vllm
from server.errors import EngineMissing, StoreError
from server.planning.calibration import NONE, Corrections, learn
from server.planning.demand import Demand
from server.planning.deployment import Deployment
from server.planning.measured import NOTHING_MEASURED, Measured
from server.planning.options import options
from server.planning.plan import Option, Rejection
from server.planning.rig import RAM_ID, Rig
from server.planning.weights import WeightMap, from_gguf_headers, from_safetensors_headers
from server.settings import Settings
from server.store.gguf import read_header, read_parts
from server.store.layout import Installed, Missing, locate
from server.store.safetensors import read_safetensors_header


@dataclass(frozen=True, slots=True)
class Inventory:
    rig: Rig
    programs: Programs
    cuda: bool
    """Whether llama-server can use NVIDIA GPUs."""
    builds: Mapping[str, Installed | Missing]
    """Every build of the catalogue, by its full name."""
    exact: Mapping[str, WeightMap] = field(default_factory=dict)
    """Weights of the builds in the store, by full name, as their files' headers tell."""
    corrections: Corrections = NONE
    """Of predicted bytes, as earlier starts taught."""
    measured: Measured = NOTHING_MEASURED
    """Of predicted speeds."""
    absent: Mapping[EngineName, EngineMissing] = field(default_factory=dict)
    """Engines that cannot be used, and why."""

    def look(self, build: Build) -> Installed | Missing:
        return self.builds[build.name]

    @property
    def engines(self) -> Collection[EngineName]:
        """Those that can be used on this rig."""
        found: list[EngineName] = []
        if self.programs.llama_server is not None:
            found.append("llama-server")
        vllm = self.programs.vllm
        if vllm is not None and vllm.cpu == (not self.rig.gpus):
            found.append("vllm")
        return tuple(found)

    @property
    def held(self) -> tuple[Installed, ...]:
        return tuple(one for one in self.builds.values() if isinstance(one, Installed))

    def check_engines(self, catalogue: Catalogue, demand: Demand) -> None:
        """Raises EngineMissing where no engine can be used, or not the one that a wish needs."""
        if not self.engines:
            raise next(iter(self.absent.values()))
        for wish in () if demand.auto else demand.wishes:
            builds = catalogue.models[wish.model].builds
            named = {b.engine for b in builds if wish.build in (None, b.id)} & set(wish.engines)
            if named and not named & set(self.engines):
                error = self.absent.get(next(iter(named)))
                raise EngineMissing(
                    f"{wish.name} cannot be served by this machine",
                    why=error.what if error else f"{named.pop()} cannot use what is here",
                    next_step=error.next_step if error else "Choose a build for another engine",
                )

    def options(
        self,
        catalogue: Catalogue,
        demand: Demand,
        *,
        held_only: bool,
        running: Sequence[Deployment] = (),
    ) -> tuple[tuple[Option, ...], tuple[Rejection, ...]]:
        """See planning.options.options."""
        return options(
            catalogue,
            demand,
            self.rig,
            self.look,
            held_only=held_only,
            engines=self.engines,
            cuda=self.cuda,
            exact=self.exact,
            running=running,
            corrections=self.corrections,
            measured=self.measured,
        )


def inventory(catalogue: Catalogue, settings: Settings, rig: Rig) -> Inventory:
    """What is on this machine, whose devices are `rig`'s.

    A file that is malformed counts as missing: no engine would be given it.
    """
    programs, absent = _programs(settings)
    builds = {
        build.name: locate(build, settings)
        for model in catalogue.models.values()
        for build in model.builds
    }
    exact: dict[str, WeightMap] = {}
    for name, found in list(builds.items()):
        if isinstance(found, Installed):
            try:
                exact[name] = read_weights(catalogue.models[found.build.model], found)
            except StoreError as error:
                builds[name] = Missing(found.build, None, (error.sentence,))
    return Inventory(
        rig=rig,
        programs=programs,
        cuda=_cuda(programs, rig),
        builds=builds,
        exact=exact,
        corrections=_corrections(settings, programs, rig),
        measured=read_speeds(settings.home),
        absent=absent,
    )


def read_weights(model: Model, installed: Installed) -> WeightMap:
    """The bytes of a build's tensors, from the headers of its files. Raises StoreError."""
    layers = model.architecture.layers
    if installed.build.format == "safetensors":
        shards = [read_safetensors_header(file) for file in installed.files]
        return from_safetensors_headers(shards, layers)
    mmproj = read_header(installed.mmproj) if installed.mmproj else None
    return from_gguf_headers(read_parts(installed.main), layers, mmproj)


def _programs(settings: Settings) -> tuple[Programs, Mapping[EngineName, EngineMissing]]:
    absent: dict[EngineName, EngineMissing] = {}
    llama_server = vllm = None
    try:
        llama_server = find_llama_server(settings)
    except EngineMissing as error:
        absent["llama-server"] = error
    try:
        vllm = find_vllm(settings)
    except EngineMissing as error:
        absent["vllm"] = error
    return Programs(llama_server, vllm), absent


def _cuda(programs: Programs, rig: Rig) -> bool:
    gpus = [gpu.id for gpu in rig.gpus]
    if programs.llama_server is None or not gpus:
        return False
    listed = list_devices(programs.llama_server.path, gpus) or ()
    return any(device.startswith("CUDA") for device in listed)


def _corrections(settings: Settings, programs: Programs, rig: Rig) -> Corrections:
    versions: dict[EngineName, str] = {}
    if programs.llama_server is not None:
        versions["llama-server"] = programs.llama_server.version
    if programs.vllm is not None:
        versions["vllm"] = programs.vllm.version
    kinds = {gpu.id: gpu.product for gpu in rig.gpus} | {RAM_ID: RAM_ID}
    return learn(Observations(settings.home).read(), versions=versions, kinds=kinds)
