"""Whether a rebuilt set of cases is the stored one: same files, same text, tensors within a tolerance."""

import json
import math

from safetensors.torch import load_file

from .precision import relative_difference


# What PEFT keeps as a set and writes in whichever order that has.
SETS = {"target_modules"}


def _ordered(key, value):
    return sorted(value) if key in SETS and isinstance(value, list) else value


def _json_fault(stored, rebuilt, tolerance, where=""):
    if isinstance(stored, dict) and isinstance(rebuilt, dict):
        if stored.keys() != rebuilt.keys():
            return f"{where}: keys differ: {sorted(stored.keys() ^ rebuilt.keys())}"
        # Rounding noise, different on every kind of CPU.
        pairs = [
            (f"{where}.{key}", _ordered(key, stored[key]), _ordered(key, rebuilt[key]))
            for key in stored
            if key != "float32Difference"
        ]
    elif isinstance(stored, list) and isinstance(rebuilt, list):
        if len(stored) != len(rebuilt):
            return f"{where}: {len(stored)} entries stored, {len(rebuilt)} rebuilt"
        pairs = [(f"{where}[{index}]", *pair) for index, pair in enumerate(zip(stored, rebuilt))]
    elif isinstance(stored, float) and isinstance(rebuilt, float):
        close = math.isclose(stored, rebuilt, rel_tol=tolerance, abs_tol=tolerance)
        return None if close else f"{where}: {stored} stored, {rebuilt} rebuilt"
    else:
        return None if stored == rebuilt else f"{where}: {stored!r} stored, {rebuilt!r} rebuilt"
    faults = (_json_fault(old, new, tolerance, path) for path, old, new in pairs)
    return next((fault for fault in faults if fault), None)


def _tensor_fault(stored, rebuilt, tolerance):
    stored, rebuilt = load_file(stored), load_file(rebuilt)
    if stored.keys() != rebuilt.keys():
        return f"tensors differ: {sorted(stored.keys() ^ rebuilt.keys())}"
    for name in stored:
        if stored[name].shape != rebuilt[name].shape or stored[name].dtype != rebuilt[name].dtype:
            return f"{name}: shape or dtype differs"
        difference = relative_difference(rebuilt[name], stored[name])
        if not difference <= tolerance:
            return f"{name}: differs by {difference:.1e} of its largest magnitude"
    return None


def _fault(stored, rebuilt, tolerance):
    if stored.suffix == ".safetensors":
        return _tensor_fault(stored, rebuilt, tolerance)
    if stored.suffix == ".json":
        return _json_fault(json.loads(stored.read_text()), json.loads(rebuilt.read_text()), tolerance)
    return None if stored.read_bytes() == rebuilt.read_bytes() else "bytes differ"


def _files(root):
    return {file.relative_to(root) for file in root.rglob("*") if file.is_file()}


def compare(stored, rebuilt, tolerance=1e-5):
    """(number of files compared, list of faults) of two folders of cases."""
    here, there = _files(stored), _files(rebuilt)
    faults = [f"{path}: {'stored only' if path in here else 'rebuilt only'}" for path in sorted(here ^ there)]
    for path in sorted(here & there):
        fault = _fault(stored / path, rebuilt / path, tolerance)
        if fault:
            faults.append(f"{path}: {fault}")
    return len(here & there), faults
