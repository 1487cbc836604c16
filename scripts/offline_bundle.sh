#!/usr/bin/env bash
# Packs everything that a Linux computer without internet needs into dist/sarcoscope-offline.tar:
# wheels (the program with pages and models, and what it depends on) and an installer.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
out=dist/sarcoscope-offline
rm -rf "$out" && mkdir -p "$out/wheels"
"$python" -m pip --disable-pip-version-check wheel -q -c constraints.txt -w "$out/wheels" '.[postgres]'
cat > "$out/install.sh" <<'INSTALL'
#!/usr/bin/env bash
# Installs Sarcoscope into a folder (default: ./sarcoscope). It needs Python 3.11 and no internet.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
target="${1:-sarcoscope}"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sarcoscope needs Python 3.11 or newer")'
python3 -m venv "$target"
"$target/bin/python" -m pip --disable-pip-version-check install -q --no-index --find-links "$here/wheels" 'sarcoscope[postgres]'
echo "Installed. Start the platform with:  $target/bin/sarcoscope serve"
INSTALL
chmod +x "$out/install.sh"
tar -C dist -cf dist/sarcoscope-offline.tar sarcoscope-offline
echo "dist/sarcoscope-offline.tar: $(du -m dist/sarcoscope-offline.tar | cut -f1) MB"
