// Command probe says as JSON what it finds itself allowed to do, and then waits
// for a signal if its argument is "wait".
package main

import (
	"encoding/json"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

type report struct {
	Status map[string]string // of /proc/self/status
	Env    []string
	Files  []string // descriptors
	Root   []string // what is in /
	Dev    []string
	Procs  []string
	Dir    string
	Errors map[string]string // what it tried, "" if it worked
	Core   uint64
}

func main() {
	r := report{Status: map[string]string{}, Env: os.Environ(), Errors: map[string]string{}}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		k, v, _ := strings.Cut(line, ":")
		r.Status[k] = strings.TrimSpace(v)
	}
	r.Files, r.Root, r.Dev = names("/proc/self/fd"), names("/"), names("/dev")
	for _, n := range names("/proc") {
		if n[0] >= '0' && n[0] <= '9' {
			r.Procs = append(r.Procs, n)
		}
	}
	r.Dir, _ = os.Getwd()
	oom, _ := os.ReadFile("/proc/self/oom_score_adj")
	r.Status["oom_score_adj"] = strings.TrimSpace(string(oom))
	var l syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_CORE, &l)
	r.Core = l.Max
	try := func(name string, err error) {
		r.Errors[name] = ""
		if err != nil {
			r.Errors[name] = err.Error()
		}
	}
	try("write data", os.WriteFile("f", []byte("x"), 0o600))
	try("write tmp", os.WriteFile("/tmp/f", []byte("x"), 0o600))
	try("write root", os.WriteFile("/f", []byte("x"), 0o600))
	try("write app", os.WriteFile(os.Args[0]+"2", []byte("x"), 0o600))
	try("setuid", syscall.Setuid(0))
	try("mount", syscall.Mount("tmpfs", "/tmp", "tmpfs", 0, ""))
	try("chown", os.Chown("f", 0, 0))
	try("mknod", syscall.Mknod("/tmp/null", syscall.S_IFCHR|0o666, 1<<8|3))
	c, err := net.DialTimeout("tcp", os.Getenv("PROBE_ADDR"), 2*time.Second)
	if try("dial", err); err == nil {
		c.Close()
	}
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGTERM)
	json.NewEncoder(os.Stdout).Encode(r)
	if len(os.Args) > 1 && os.Args[1] == "wait" {
		<-ch
		os.Exit(7)
	}
}

func names(dir string) (out []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
