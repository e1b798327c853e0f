#!/bin/sh
# Stands for your PKI: a root, whose key stays where it is, and an intermediate for the mesh alone.
#   make-ca.sh OFFLINE SECRETS
# OFFLINE gets root.pem and root.key; SECRETS gets what the kit takes: ca.pem (intermediate, root) and the intermediate's ca.key.
set -eu
offline=${1:?a folder for the root} secrets=${2:?the folder with the identities}
umask 077
mkdir -p "$offline" "$secrets"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -days 3650 -subj "/CN=Example Root" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout "$offline/root.key" -out "$offline/root.pem" 2>/dev/null

cat >"$offline/intermediate.ext" <<EXT
basicConstraints=critical,CA:TRUE,pathlen:0
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
EXT
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=Example Mesh Intermediate" \
    -keyout "$secrets/ca.key" -out "$offline/intermediate.csr" 2>/dev/null
openssl x509 -req -in "$offline/intermediate.csr" -CA "$offline/root.pem" -CAkey "$offline/root.key" -CAcreateserial \
    -days 365 -extfile "$offline/intermediate.ext" -out "$offline/intermediate.pem" 2>/dev/null
cat "$offline/intermediate.pem" "$offline/root.pem" >"$secrets/ca.pem"
