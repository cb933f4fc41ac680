#!/usr/bin/env bash
# Makes the two base images that the Dockerfile names, from Debian's packages and the local Rust toolchain, where no registry
# can be reached. They stand in for the published ones under the same names, in buildah's store on this machine only.
#   tools/image-bases.sh FOLDER     (as root; needs mmdebstrap and buildah; about 1 GB in FOLDER, which is removed)
set -euo pipefail
folder=$1
repository=$(cd "$(dirname "$0")/.." && pwd)
base() { sed -n "s/^FROM \([^ ]*\)$1\$/\1/p" "$repository/Dockerfile"; } # the image of the stage whose FROM line ends so
toolchain_image=$(base ' AS build') final_image=$(base '')
version=${toolchain_image#*:} version=${version%-bookworm}

have() { buildah images --quiet --filter "reference=$1" | grep -q .; }
# The commands of buildah print names and ids of containers on their way.
commit() { # IMAGE FOLDER CONFIG...
    local image=$1 root=$2 container
    shift 2
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$root" / >/dev/null
    if (($#)); then buildah config "$@" "$container"; fi
    buildah commit --quiet --timestamp 0 --rm "$container" "$image" >/dev/null
}

rm -rf "$folder"
mkdir -p "$folder"
trap 'rm -rf "$folder"' EXIT

if ! have "$toolchain_image"; then
    mmdebstrap --quiet --variant=minbase --include=gcc,g++,make,libc6-dev,ca-certificates bookworm "$folder/build" http://deb.debian.org/debian
    # The same toolchain as in the published image: cargo, rustc and the standard library.
    toolchain=$(rustup run "$version" rustc --print sysroot)
    mkdir -p "$folder/build/usr/local/bin" "$folder/build/usr/local/lib/rustlib"
    cp -a "$toolchain"/bin/{cargo,rustc} "$folder/build/usr/local/bin/"
    cp -a "$toolchain"/lib/*.so* "$folder/build/usr/local/lib/"
    cp -a "$toolchain"/lib/rustlib/*-linux-gnu "$folder/build/usr/local/lib/rustlib/"
    # A machine behind a proxy of its own has certificates that Debian's package does not have.
    cp -L "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$folder/build/etc/ssl/certs/ca-certificates.crt"
    commit "$toolchain_image" "$folder/build" --env CARGO_HOME=/usr/local/cargo --env PATH=/usr/local/bin:/usr/bin:/bin
fi

if ! have "$final_image"; then
    # `extract` unpacks the packages and runs nothing of them: no shell and no package manager are needed in it.
    mmdebstrap --quiet --variant=extract --include=libc6,libgcc-s1 bookworm "$folder/final" http://deb.debian.org/debian
    (cd "$folder" && apt-get download --quiet --quiet ca-certificates && dpkg-deb --extract ca-certificates_*.deb certificates)
    rm -rf "$folder"/final/{usr/share,usr/bin,usr/sbin,usr/lib/*/gconv,usr/lib/*/audit,var,dev,proc,sys,run,etc,tmp,sbin,bin}
    mkdir -p "$folder"/final/{etc/ssl/certs,dev,proc,sys,run,home/nonroot,tmp}
    cat "$folder"/certificates/usr/share/ca-certificates/mozilla/*.crt >"$folder/final/etc/ssl/certs/ca-certificates.crt"
    printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$folder/final/etc/passwd"
    printf 'root:x:0:\nnonroot:x:65532:\n' >"$folder/final/etc/group"
    chown 65532:65532 "$folder/final/home/nonroot"
    chmod 1777 "$folder/final/tmp"
    commit "$final_image" "$folder/final" --user 65532 --env PATH=/usr/bin:/bin
fi
