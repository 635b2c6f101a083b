// Command guest is the init of the emulator's tests: it loads the modules that
// it finds, and does what the console tells it.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func main() {
	unix.Mount("dev", "/dev", "devtmpfs", 0, "")
	unix.Mount("proc", "/proc", "proc", 0, "")
	modules, _ := filepath.Glob("/modules/*.ko")
	for _, m := range modules { // names begin with their numbers
		f, err := os.Open(m)
		check(err)
		check(unix.FinitModule(int(f.Fd()), "", 0))
		f.Close()
	}
	if link, err := netlink.LinkByName("eth0"); err == nil {
		check(netlink.LinkSetUp(link))
		addr, err := netlink.ParseAddr("10.0.2.15/24")
		check(err)
		check(netlink.AddrAdd(link, addr))
	}
	cmdline, _ := os.ReadFile("/proc/cmdline")
	fmt.Printf("guest %s: %s", runtime.GOARCH, cmdline)
	in := bufio.NewScanner(os.Stdin)
	fmt.Print("ready\n")
	for in.Scan() {
		if f := strings.Fields(in.Text()); len(f) > 0 {
			if err := do(f); err != nil {
				fmt.Printf("%s: %v\n", f[0], err)
			} else {
				fmt.Printf("%s: done\n", f[0])
			}
		}
	}
}

func do(f []string) error {
	switch f[0] {
	case "clock":
		fmt.Println("clock", time.Now().UTC().Format(time.RFC3339))
	case "random":
		_, err := unix.Getrandom(make([]byte, 16), 0)
		return err
	case "listen": // answers each connection with its name
		l, err := net.Listen("tcp", ":"+f[1])
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				io.WriteString(c, "guest\n")
				c.Close()
			}
		}()
	case "dial":
		c, err := net.DialTimeout("tcp", f[1], 3*time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	case "write", "sync": // OFFSET SECTORS BYTE: past the page cache
		return write(f)
	case "reboot":
		return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	case "poweroff":
		return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
	return nil
}

func write(f []string) error {
	var n [3]int64
	for i := range n {
		n[i], _ = strconv.ParseInt(f[i+1], 0, 64)
	}
	d, err := os.OpenFile("/dev/vda", os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	b, err := unix.Mmap(-1, 0, int(n[1]*512), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	copy(b, bytes.Repeat([]byte{byte(n[2])}, len(b)))
	if _, err := d.WriteAt(b, n[0]*512); err != nil {
		return err
	}
	if f[0] == "sync" {
		return d.Sync()
	}
	return nil
}

func check(err error) {
	if err != nil {
		fmt.Println("guest:", err)
		unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
}
