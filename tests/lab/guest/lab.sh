# What the system in RAM and the installed one share. Sourced by their scripts.
# All speak on the serial port, whatever console= says: the post's kernel line has none.

say() {
    echo "LAB-RAM $*" >/dev/ttyS0
}

load_modules() {
    while read -r module; do
        insmod "/lib/modules/$module" || say "module: $module does not load"
    done </lib/modules/order
}

# udhcpc's own client id is 01 and the card's address: the one that iPXE sent, and what
# CoreOS's yy-pxe.network asks for with ClientIdentifier=mac.
network() {
    ip link set lo up
    ip link set "$1" up
    udhcpc -i "$1" -f -q -n -t 15 -T 2 -s /lib/on-lease >/dev/null 2>&1
}

# Nothing more to do: the console takes one word per line.
halt_here() {
    say "$*"
    while true; do
        read -r word </dev/ttyS0 || sleep 1
        case $word in
            reboot) /bin/reboot ;;
            poweroff) sync && busybox poweroff -f ;;
        esac
    done
}
