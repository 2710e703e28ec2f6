"""One EZKL operation per process: a request in JSON, a reply in JSON.

Started by the plugin as `python -I driver.py request.json reply.json`. Some failures of the
module surface as panics, which are BaseExceptions, so everything is caught.
"""

import json
import sys


def version(ezkl, request):
    from importlib.metadata import version as installed

    return installed("ezkl")


def settings(ezkl, request):
    args = ezkl.PyRunArgs()
    args.input_visibility = "public"
    args.output_visibility = "public"
    args.param_visibility = "fixed"
    args.input_scale = request["scale"]
    args.param_scale = request["scale"]
    args.scale_rebase_multiplier = 1
    args.logrows = request["logrows"]
    return ezkl.gen_settings(request["model"], request["settings"], py_run_args=args)


def compile_circuit(ezkl, request):
    return ezkl.compile_circuit(request["model"], request["circuit"], request["settings"])


def setup(ezkl, request):
    return ezkl.setup(request["circuit"], request["vk"], request["pk"], request["srs"])


def test_srs(ezkl, request):
    ezkl.gen_srs(request["srs"], request["logrows"])


def witness(ezkl, request):
    ezkl.gen_witness(request["data"], request["circuit"], request["witness"])


def mock(ezkl, request):
    return ezkl.mock(request["witness"], request["circuit"])


def prove(ezkl, request):
    ezkl.prove(
        request["witness"], request["circuit"], request["pk"], request["proof"], request["srs"]
    )


def verify(ezkl, request):
    return ezkl.verify(request["proof"], request["settings"], request["vk"], request["srs"])


OPERATIONS = {
    f.__name__: f
    for f in (version, settings, compile_circuit, setup, test_srs, witness, mock, prove, verify)
}


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        request = json.load(f)
    try:
        import ezkl
    except BaseException as e:
        reply = {"missing": f"{type(e).__name__}: {e}"}
    else:
        try:
            reply = {"result": OPERATIONS[request["op"]](ezkl, request)}
        except BaseException as e:
            reply = {"error": f"{type(e).__name__}: {e}"}
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        json.dump(reply, f)


main()
