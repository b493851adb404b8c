# What a kernel's Makefile does, in a moment. The file `fault` beside it says what goes wrong.
set -e
# As the kernel's own does, where it is to build elsewhere.
if [ "$2" != . ]; then
    if [ -f "$SRC/.config" ] || [ -d "$SRC/include/config" ]; then
        echo "*** The source tree is not clean, please run 'make mrproper'" >&2
        exit 1
    fi
    cd "$2"
    ln -fsn "$SRC" source
    mkdir -p arch/x86/boot
fi
config=${KCONFIG_CONFIG:-.config}
fault=$(cat "$SRC/fault" 2>/dev/null || true)
echo "$1" >> "$STEPS"

case $1 in
mrproper)
    rm -rf .config .config.old vmlinux arch/x86/boot/bzImage include/config
    ;;
defconfig | tinyconfig)
    printf 'CONFIG_64BIT=y\nCONFIG_MADE_BY="%s"\n# CONFIG_SMP is not set\n' "$1" > "$config"
    ;;
olddefconfig)
    case $fault in
    drop:*)
        sed -i "/^${fault#drop:}=/d" "$config"
        ;;
    esac
    ;;
bzImage)
    case $fault in
    compile)
        echo "  CC      kernel/sched/ext.o"
        echo "kernel/sched/ext.c:7:3: error: 'x' undeclared" >&2
        exit 1
        ;;
    full) cat /dev/zero > /dev/full ;;
    # The shell is a compiler, its parent make; both would go on for long.
    hang)
        echo $$ > "$SRC/hanging.part"
        mv "$SRC/hanging.part" "$SRC/hanging"
        sleep 600
        ;;
    orphan)
        echo $$ > "$SRC/hanging.part"
        mv "$SRC/hanging.part" "$SRC/hanging"
        kill -9 $PPID
        sleep 600
        ;;
    gate)
        touch "$STEPS.waiting"
        tries=0
        while [ ! -e "$STEPS.go" ]; do
            tries=$((tries + 1))
            [ $tries -lt 6000 ]
            sleep 0.01
        done
        ;;
    touch) echo '# edited' >> "$SRC/Kconfig" ;;
    nothing) exit 0 ;;
    # As scripts/link-vmlinux.sh does.
    btf)
        echo "  BTF     .btf.vmlinux.bin.o"
        pahole -J vmlinux
        ;;
    esac
    for file in init/main kernel/fork kernel/sched/core; do
        echo "  CC      $file.o"
    done
    # A configuration that is not newer than what was made of it is not looked at.
    mkdir -p include/config
    if [ ! -e include/config/auto.conf ] || [ "$config" -nt include/config/auto.conf ]; then
        cp "$config" include/config/auto.conf
    fi
    grep -q '^CONFIG_SCHED_CLASS_EXT=y' include/config/auto.conf
    cp "$SRC/image" arch/x86/boot/bzImage
    printf 'Linux version 6.99.1 (standin)\n' > banner
    ld -r -b binary -o vmlinux banner
    objcopy --add-section .debug_info=banner --add-section .BTF=banner vmlinux
    ;;
esac
