# Source this from the repository's root: makes `train_pocket` and the tool specs importable where agenthost is not
# installed. Only the specs are taken, since the tools themselves need more packages than training does.
shim=$(mktemp -d)
for room in . code files browser; do
    mkdir -p "$shim/agenthost/tools/$room"
    : >"$shim/agenthost/tools/$room/__init__.py"
done
cp tools/spec.py tools/errors.py "$shim/agenthost/tools/"
cp tools/code/spec.py "$shim/agenthost/tools/code/"
cp tools/files/specs.py "$shim/agenthost/tools/files/"
cp tools/browser/specs.py "$shim/agenthost/tools/browser/"
export PYTHONPATH="$shim:$PWD/examples${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
