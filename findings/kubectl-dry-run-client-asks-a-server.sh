#!/bin/bash
# `kubectl apply --dry-run=client` is no check that works without a cluster, although "client" says that nothing is sent
# to one: it asks the server for its types first, also with `--validate=false`. `create` does the same. `set image
# --local` parses the same file by the client's own types and needs nothing.
#
# Seen: kubectl 1.20.2 of Debian 12, 2026-11-27: "connection refused" from both, with either option; `set image --local`
# printed `pod/a`.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
skip() { echo "not tried: $*"; exit 77; }
for program in apt-get dpkg timeout; do command -v $program > /dev/null || skip "there is no $program"; done

cd "$folder"
apt-get download kubernetes-client=1.20.5+really1.20.2-1.1+deb12u1 > /dev/null 2>&1 || skip 'there is no such package'
dpkg -x kubernetes-client_*.deb .
cat > pod.yaml << 'END'
apiVersion: v1
kind: Pod
metadata:
  name: a
spec:
  containers:
    - name: a
      image: busybox
END
# A port on which nobody listens.
cat > config << 'END'
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
END
export KUBECONFIG=$folder/config HOME=$folder

for words in 'apply --dry-run=client' 'apply --dry-run=client --validate=false' 'create --dry-run=client' \
  'create --dry-run=client --validate=false'; do
  status=0
  timeout 60 usr/bin/kubectl $words -o name -f pod.yaml > said 2>&1 || status=$?
  echo "$words: exit $status: $(tail -n 1 said)"
  if [ $status = 0 ] || ! grep -q refused said; then echo CHANGED; exit 1; fi
done
printed=$(timeout 60 usr/bin/kubectl set image --local -o name -f pod.yaml a=b 2>&1) || true
echo "set image --local: $printed"
if [ "$printed" != pod/a ]; then echo CHANGED; exit 1; fi
