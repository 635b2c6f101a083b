package initd

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mios"
	"mios/format/initrc"
	"mios/internal/testkit"
)

func parseService(t *testing.T, text string) *initrc.Service {
	t.Helper()
	s, err := initrc.Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return &s.Services[0]
}

// addService defines a service that runs a shell script.
func addService(t *testing.T, d *Device, name, script, options string) *initrc.Service {
	t.Helper()
	def := parseService(t, "service "+name+" /bin/sh\n user root\n "+options)
	def.Args = []string{"/bin/sh", "-c", strings.ReplaceAll(script, "$", "$$")}
	def.RestartPeriod = 20 * time.Millisecond
	if err := d.services.add(def); err != nil {
		t.Fatal(err)
	}
	return def
}

func TestServiceStartsAndStops(t *testing.T) {
	d := newDevice(t)
	addService(t, d, "s", "echo up; echo level=WARN msg=oh >&2; exec sleep 100", "")
	if err := d.services.start("s"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, d, "init.svc.s", "running")
	if d.Props.Get("ro.boottime.s") == "" || d.Props.Get("init.svc_debug_pid.s") == "" {
		t.Error("boot time or process number are not there")
	}
	if err := d.services.start("s"); err != nil {
		t.Errorf("second start: %v", err)
	}
	if err := d.services.stop("s"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, d, "init.svc.s", "stopped")
	if err := d.services.classStart("default"); err != nil {
		t.Fatal(err)
	}
	if got := d.Props.Get("init.svc.s"); got != "stopped" {
		t.Errorf("after a stop class_start makes it %s", got)
	}
	for _, f := range []func(string) error{d.services.start, d.services.stop, d.services.enable} {
		if err := f("none"); !errors.Is(err, mios.ErrNotFound) {
			t.Errorf("a service that there is not: %v", err)
		}
	}
}

func TestServiceStartsAgain(t *testing.T) {
	d := newDevice(t)
	count := d.path("/count")
	addService(t, d, "s", "echo x >> "+count+"; exit 1", "onrestart setprop restarted yes")
	if err := d.services.start("s"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, d, "restarted", "yes")
	if err := until(t.Context(), testkit.Patience, "third run", func() bool {
		b, _ := os.ReadFile(count)
		return len(b) >= 6
	}); err != nil {
		t.Error(err)
	}
	if err := d.services.stop("s"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, d, "init.svc.s", "stopped")
}

func TestOneshot(t *testing.T) {
	d := newDevice(t)
	addService(t, d, "s", "exit 3", "oneshot")
	if err := d.services.start("s"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, d, "init.svc.s", "stopped")
	if ws, err := d.services.wait(t.Context(), "s"); err != nil || ws.ExitStatus() != 3 {
		t.Errorf("status = %v, %v, want 3", ws, err)
	}
	if err := d.execStart(t.Context(), []string{"s"}); err == nil || !strings.Contains(err.Error(), "status 3") {
		t.Errorf("exec_start = %v, want its status", err)
	}
}

func TestClasses(t *testing.T) {
	d := newDevice(t)
	for _, n := range []string{"a", "b", "c"} {
		addService(t, d, n, "exec sleep 100", "class main")
	}
	addService(t, d, "off", "exec sleep 100", "class main\n disabled")
	addService(t, d, "other", "exec sleep 100", "class late")
	if err := d.services.classStart("main"); err != nil {
		t.Fatal(err)
	}
	state := func() (s []string) {
		for _, n := range []string{"a", "b", "c", "off", "other"} {
			s = append(s, d.Props.Get("init.svc."+n))
		}
		return s
	}
	if got := state(); !slices.Equal(got, []string{"running", "running", "running", "", ""}) {
		t.Errorf("after class_start: %q", got)
	}
	if err := d.services.enable("off"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, d, "init.svc.off", "running")
	d.services.classStop("main", true)
	for _, n := range []string{"a", "b", "c", "off"} {
		waitFor(t, d, "init.svc."+n, "stopped")
	}
	if err := d.services.classStart("main"); err != nil {
		t.Fatal(err)
	}
	if got := state(); !slices.Equal(got, []string{"running", "running", "running", "running", ""}) {
		t.Errorf("after class_reset and class_start: %q", got)
	}
	pid := d.Props.Get("init.svc_debug_pid.a")
	if err := d.classRestart(t.Context(), []string{"main"}); err != nil {
		t.Fatal(err)
	}
	if err := until(t.Context(), testkit.Patience, "restart", func() bool {
		now := d.Props.Get("init.svc_debug_pid.a")
		return now != "" && now != pid
	}); err != nil {
		t.Error(err)
	}
}

func TestServiceGetsItsSurroundings(t *testing.T) {
	d := newDevice(t)
	write(t, d, "/data/in", "from a file")
	def := addService(t, d, "s", `echo $A; echo sock $ANDROID_SOCKET_k_1; cat <&$ANDROID_FILE__data_in; echo; ulimit -n; [ -S `+
		d.path("/dev/socket/k-1")+` ] && echo there; i=0
		until [ $(cat /proc/self/oom_score_adj) = 500 ] || [ $i = 1000 ]; do i=$((i+1)); done # init sets it from outside
		cat /proc/self/oom_score_adj; echo nice $(nice)`,
		"oneshot\n setenv A b\n socket k-1 stream+listen+passcred 0600\n file /data/in r\n writepid /data/pid\n oom_score_adjust 500")
	def.Rlimits = nil
	if os.Getuid() == 0 {
		def.Priority = 5
	}
	if err := d.execStart(t.Context(), []string{"s"}); err != nil {
		t.Fatal(err)
	}
	if err := until(t.Context(), testkit.Patience, "lines", func() bool { return strings.Contains(logOf(d), "I s: nice") }); err != nil {
		t.Error(err)
	}
	log := logOf(d)
	for _, want := range []string{"I s: b\n", "I s: sock 3\n", "I s: from a file\n", "I s: there\n", "I s: 500\n"} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
	if os.Getuid() == 0 && !strings.Contains(log, "I s: nice 5\n") {
		t.Errorf("priority is not 5:\n%s", log)
	}
	if fileExists(d.path("/dev/socket/k-1")) || !fileExists(d.path("/data/pid")) {
		t.Error("the socket is left, or the pid is not written")
	}
}

func TestUserAndCapabilities(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may change users")
	}
	d := newDevice(t)
	def := addService(t, d, "s", "id -u; id -g; id -G; grep Cap /proc/self/status", "oneshot\n group log inet 4242\n capabilities NET_ADMIN")
	def.User = "shell"
	err := d.execStart(t.Context(), []string{"s"})
	if errors.Is(err, os.ErrPermission) {
		t.Skipf("this machine does not let root give capabilities away: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := until(t.Context(), testkit.Patience, "lines", func() bool { return strings.Contains(logOf(d), "CapAmb") }); err != nil {
		t.Error(err)
	}
	log := logOf(d)
	for _, want := range []string{"s: 2000\n", "s: 1007\n", "s: 1007 3003 4242\n", "CapBnd:\t0000000000001000", "CapAmb:\t0000000000001000"} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
}

func TestMissingProgram(t *testing.T) {
	d := newDevice(t)
	def := addService(t, d, "s", "", "oneshot")
	def.Args = []string{"/no/such/program"}
	if err := d.services.start("s"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("start = %v", err)
	}
	if ws, err := d.services.wait(t.Context(), "s"); err != nil || ws.ExitStatus() != 127 {
		t.Errorf("status = %v, %v, want 127", ws, err)
	}
	waitFor(t, d, "init.svc.s", "stopped")
}

func TestTimeoutPeriodAndGentleKill(t *testing.T) {
	d := newDevice(t)
	def := addService(t, d, "slow", "exec sleep 100", "oneshot")
	def.TimeoutPeriod = 50 * time.Millisecond
	if err := d.execStart(t.Context(), []string{"slow"}); err == nil || !strings.Contains(err.Error(), "signal 9") {
		t.Errorf("a service that runs too long: %v", err)
	}
	addService(t, d, "gentle", `trap "echo bye; exit 0" TERM; echo ready; while :; do sleep 0.01; done`, "gentle_kill\n oneshot")
	if err := d.services.start("gentle"); err != nil {
		t.Fatal(err)
	}
	if err := until(t.Context(), testkit.Patience, "line", func() bool { return strings.Contains(logOf(d), "gentle: ready") }); err != nil {
		t.Fatal(err)
	}
	if err := d.services.stop("gentle"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, d, "init.svc.gentle", "stopped")
}

func TestCrash(t *testing.T) {
	now := time.Unix(1000, 0)
	s := &service{def: &initrc.Service{CriticalWindow: time.Minute}}
	var fatal []bool
	for _, after := range []int{0, 10, 70, 71, 72, 73} {
		fatal = append(fatal, s.crash(now.Add(time.Duration(after)*time.Second), true))
	}
	if want := []bool{false, false, false, false, false, true}; !slices.Equal(fatal, want) {
		t.Errorf("after boot: %v, want %v", fatal, want)
	}
	s.crashes = 0
	fatal = nil
	for _, after := range []int{0, 100, 200, 300} {
		fatal = append(fatal, s.crash(now.Add(time.Duration(after)*time.Second), false))
	}
	if want := []bool{false, false, false, true}; !slices.Equal(fatal, want) {
		t.Errorf("before boot: %v, want %v", fatal, want)
	}
}

func TestShutdownKillsWhatDoesNotListen(t *testing.T) {
	d := newDevice(t)
	addService(t, d, "deaf", `trap "" TERM; echo ready; while :; do sleep 0.01; done`, "")
	addService(t, d, "last", "exec sleep 100", "shutdown critical")
	for _, n := range []string{"deaf", "last"} {
		if err := d.services.start(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := until(t.Context(), testkit.Patience, "line", func() bool { return strings.Contains(logOf(d), "ready") }); err != nil {
		t.Fatal(err)
	}
	d.services.shutdown(100 * time.Millisecond)
	waitFor(t, d, "init.svc.deaf", "stopped")
	waitFor(t, d, "init.svc.last", "stopped")
}

// TestShutdownThatHangs reboots although a file system never answers.
func TestShutdownThatHangs(t *testing.T) {
	d := newDevice(t)
	fifo := d.path("/stuck") // to open it for writing waits for a reader
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, d, "/init.rc", "on shutdown\n  write /stuck x\n")
	if err := d.load("/init.rc"); err != nil {
		t.Fatal(err)
	}
	rebooted := make(chan string, 2)
	d.reboot = func(cmd int, target string) { rebooted <- target }
	d.lastPatience = 10 * time.Millisecond
	go d.run()
	d.Props.Set("sys.powerctl", "reboot,why")
	if target := <-rebooted; target != "why" {
		t.Errorf("reboot into %q, want why", target)
	}
	f, err := os.Open(fifo) // lets it end
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	<-rebooted
}
