"""Registers rewritten under a pending product: found in what Triton 3.6 makes of a kernel that hands them to wgmma."""

import json
import os
import subprocess
import sys

import pytest

from bench.measure import wgmma
from tests import ROOT

LOOP = """
.L_x_3:
        /*1650*/                   UIADD3 UR15, UR15, 0x1, URZ ;
.L_x_4:
        /*1700*/                   LDSM.16.M88.4 R156, [R20+UR8+0x18000] ;
        /*1e70*/                   HGMMA.64x256x16.F32.BF16 R24, R152, gdesc[UR16], R24, gsb0 ;
        /*2000*/                   WARPGROUP.DEPBAR.LE gsb0, {pending} ;
        /*2010*/                   WARPGROUP.ARRIVE ;
        /*2020*/                   HGMMA.64x256x16.F32.BF16 R24, R156, gdesc[UR16], R24, gsb0 ;
        /*2050*/                   WARPGROUP.DEPBAR.LE gsb0, {pending} ;
        /*24d0*/              @P0 BRA `(.L_x_3) ;
        /*24e0*/                   WARPGROUP.DEPBAR.LE gsb0, 0x0 ;
        /*24f0*/                   MOV R156, R24 ;
"""  # of conv3x3's backward_data_kernel as it was, layer low.5, sm_90, shortened


def test_a_loop_that_rewrites_what_is_pending_is_found():
    assert wgmma.in_sass(LOOP.format(pending="0x1")) == ["LDSM.16.M88.4 R156 in the product of R156"]
    assert wgmma.in_sass(LOOP.format(pending="0x0")) == []


@pytest.mark.parametrize("instruction, found", [
    ("LDSM.16.M88.4 R4, [R20] ;", True), ("LDSM.16.M88.4 R1, [R20] ;", True), ("LDSM.16.M88.4 R0, [R20] ;", False),
    ("MOV R7, RZ ;", True), ("MOV R8, RZ ;", False), ("@!P0 SEL R5, R1, RZ, P1 ;", True), ("LDS.64 R3, [R20] ;", True),
    ("LDS R3, [R20] ;", False), ("STG.E desc[UR4][R4.64], R5 ;", False), ("ISETP.GT.AND P0, PT, R4, R5, PT ;", False),
])
def test_registers_that_instructions_write(instruction, found):
    product = "/*0010*/ HGMMA.64x128x16.F32.BF16 R24, R4, gdesc[UR16], R24, gsb0 ;\n"
    assert bool(wgmma.in_sass(f"{product}/*0020*/ {instruction}\n")) == found
    in_memory = product.replace("R4, gdesc", "gdesc")
    assert not wgmma.in_sass(f"{in_memory}/*0020*/ {instruction}\n")
    assert not wgmma.in_sass(f"{product}/*0018*/ WARPGROUP.DEPBAR.LE gsb0, 0x0 ;\n/*0020*/ {instruction}\n")


DOT = "%s_94 = ttng.warp_group_dot %dy_86, %s_90, %s_50 {isAsync = true} : {left} * !ttg.memdesc<16x256xbf16> -> x\n"
WAIT = "%s_95:2 = ttng.warp_group_dot_wait %s_94, %s_90 {pendings = {n} : i32} : tensor<128x256xf32, #mma>\n"


@pytest.mark.parametrize("left, pendings, found", [
    ("tensor<128x16xbf16, #ttg.dot_op<{opIdx = 0}>>", 3, True), ("tensor<128x16xbf16>", 0, False),
    ("!ttg.memdesc<128x16xbf16, #shared3>", 1, False),
])
def test_what_the_compiler_leaves_open(left, pendings, found):
    text = DOT.replace("{left}", left) + WAIT.replace("{n}", str(pendings))
    assert wgmma.in_ttgir(text) == found
    assert wgmma.register_operands(text) == left.startswith("tensor")


KERNEL = """
import json, sys
from types import SimpleNamespace
import numpy as np
from bench.gpu import Offline
from bench.measure import wgmma
from ltbc.kernels.gpu import launch
from ltbc.kernels.gpu.launch import tl, triton

@triton.jit
def kernel(dy, y, w, dx, K, DERIVED: tl.constexpr):
    sums = tl.zeros((128, 256), tl.float32)
    for k in range(0, K, 64):
        dz = dy.load([0, k])
        if not DERIVED:
            dz = tl.where(y.load([0, k]) > 0, dz, 0.0)
        sums = tl.dot(dz, w.load([0, k]).T, sums)
    dx.store([0, 0], sums.to(dx.dtype))

found = []
for derived in (False, True):
    launch.use(target := Offline(90))
    dy, y, dx, w = (np.empty(s, "bfloat16") for s in ((128, 4096), (128, 4096), (128, 256), (256, 4096)))
    boxes = [launch.box(a, a.shape, (len(a), side)) for a, side in ((dy, 64), (y, 64), (w, 64), (dx, 256))]
    launch.run(kernel, (1,), *boxes, 4096, DERIVED=derived, num_warps=8, num_stages=3)
    asm = target.launches[0][1].asm
    found.append((wgmma.register_operands(asm["ttgir"]), wgmma.in_ttgir(asm["ttgir"]), wgmma.rewritten(asm)))
print(json.dumps(found))
"""


@pytest.mark.slow
def test_it_is_found_in_a_kernel_that_takes_the_derivative_on_the_way(tmp_path):
    pytest.importorskip("triton", reason="the gpu backend's kernels need Triton: pip install 'triton>=3.6'")
    (tmp_path / "kernel.py").write_text(KERNEL)
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "kernel.py")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    on_the_way, before = json.loads(done.stdout)
    assert on_the_way[0] > 0 and on_the_way[1] and on_the_way[2], on_the_way
    assert before == [0, False, []]
