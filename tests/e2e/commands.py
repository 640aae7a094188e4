"""The commands of an operator who stands beside a running scene."""

import asyncio
import os
import sys

from deploy.demo.scene import TOML, Scene

OPERATING = TOML.replace('scopes = ["claim", "read"]', 'scopes = ["claim", "read", "broker", "operate", "bodies"]')


async def said(scene: Scene, *words: str) -> str:
    """Return what `ringhook …` prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.command", *words),
        env={"PATH": os.defpath, "RINGHOOK_TOKEN": scene.token, "RINGHOOK_INTERNAL_URL": scene.made.internal},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return out.decode()
