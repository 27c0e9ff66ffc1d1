"""What every benchmark says of the machine it ran on."""

import platform
from pathlib import Path


def processor() -> str:
    """Model of the CPU."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()
