// Command probe is an app without any permission. It tries what it may not do,
// and writes how that ended to its data folder, a line each: NAME=RESULT.
package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

var tries = []struct {
	name string
	run  func() error
}{
	{"dial", func() error { return dial("udp4", "10.0.2.2:53") }},
	{"dial the host", func() error { return dial("tcp4", "10.0.2.2:80") }},
	{"dial adbd", func() error { return dial("tcp4", "127.0.0.1:5555") }},
	{"read another app's data", func() error { return list("/data/data/org.mios.hello") }},
	{"read another app's package", func() error { return list("/data/app/org.mios.hello") }},
	{"read what the system keeps", func() error { return list("/data/misc") }},
	{"read the list of packages", func() error { return list("/data/system") }},
	{"talk to installd", func() error { return dial("unix", "/dev/socket/installd") }},
	{"talk to update_engine", func() error { return dial("unix", "/dev/socket/update_engine") }},
	{"set a property", func() error { return dial("unix", "/dev/socket/property_service") }},
	{"write the system", func() error { return write("/system/probe") }},
	{"write its package", func() error { return write(filepath.Dir(must(os.Executable())) + "/probe") }},
	{"open the disk", func() error { return list("/dev/vda") }},
	{"become root", func() error { return syscall.Setuid(0) }},
	{"mount", func() error { return syscall.Mount("tmpfs", "/tmp", "tmpfs", 0, "") }},
	{"see init", func() error { return onlyMine() }},
	{"run a program of its data folder", runOwn},
	{"write its data", func() error { return write(home + "/probe") }},
	{"write /tmp", func() error { return write("/tmp/probe") }},
}

var home = os.Getenv("HOME")

func main() {
	var b strings.Builder
	for _, t := range tries {
		result := "done"
		if err := t.run(); err != nil {
			result = err.Error()
		}
		fmt.Fprintf(&b, "%s=%s\n", t.name, result)
	}
	fmt.Print(b.String())
	if err := os.WriteFile(home+"/report.new", []byte(b.String()), 0o600); err == nil {
		os.Rename(home+"/report.new", home+"/report")
	}
	for {
		time.Sleep(time.Hour)
	}
}

func must(s string, _ error) string { return s }

func dial(network, address string) error {
	c, err := net.DialTimeout(network, address, 5*time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

func list(path string) error {
	f, err := os.Open(path)
	if err == nil {
		f.Close()
	}
	return err
}

func write(path string) error { return os.WriteFile(path, []byte("probe"), 0o600) }

// onlyMine fails if there is a process but this one.
func onlyMine() error {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err == nil && len(names) < 2 {
		err = fmt.Errorf("there is only %v", names)
	}
	return err
}

func runOwn() error {
	path := home + "/program"
	if err := os.WriteFile(path, []byte("#!/system/bin/sh\n"), 0o700); err != nil {
		return err
	}
	p, err := os.StartProcess(path, []string{path}, new(os.ProcAttr))
	if err == nil {
		p.Wait()
	}
	return err
}
