package initd

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mios"
	"mios/device/bootrecord"
	"mios/device/property"
	"mios/format/bootctl"
	"mios/format/initrc"
	"mios/internal/testkit"
)

// newDevice returns a device in a folder of its own whose processes are the
// test's children.
func newDevice(t *testing.T) *Device {
	root := t.TempDir()
	for _, dir := range []string{"dev/socket", "system/etc/init", "data", "proc/sys/kernel", "sys/class/block"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d := New(root, false)
	d.env = []string{"PATH=" + os.Getenv("PATH")}
	d.services.spawn.unprivileged = os.Getuid() != 0
	d.reboot = func(int, string) { t.Error("the machine reboots") }
	t.Cleanup(func() { d.cancel(); d.services.shutdown(time.Second) })
	return d
}

func write(t *testing.T, d *Device, name, text string) {
	t.Helper()
	path := d.path(name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// waitFor waits for a property.
func waitFor(t *testing.T, d *Device, name, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	if _, err := d.Props.Wait(ctx, name, value); err != nil {
		t.Fatalf("%s is %q, want %q; log:\n%s", name, d.Props.Get(name), value, logOf(d))
	}
}

func logOf(d *Device) string {
	list, _ := d.Ring.From(0, 1000)
	var b strings.Builder
	for _, e := range list {
		b.WriteString(e.Priority.String() + " " + e.Tag + ": " + e.Message + "\n")
	}
	return b.String()
}

func TestEveryCommandIsBuiltIn(t *testing.T) {
	for _, name := range initrc.Commands() {
		if _, ok := builtins[name]; ok == initrc.Ignored(name) {
			t.Errorf("command %s: built in is %v, ignored is %v", name, ok, initrc.Ignored(name))
		}
	}
	for name := range builtins {
		if !slices.Contains(initrc.Commands(), name) {
			t.Errorf("command %s is not in the language", name)
		}
	}
}

func TestLookupID(t *testing.T) {
	for name, want := range map[string]uint32{"root": 0, "system": 1000, "shell": 2000, "inet": 3003, "log": 1007, "net_admin": 3005,
		"nobody": 9999, "10001": 10001, "u0_a5": 10005, "u1_a0": 110000} {
		if got, err := LookupID(name); got != want || err != nil {
			t.Errorf("LookupID(%s) = %d, %v, want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"", "-1", "who", "u_a", "u0_a90000", "4294967296"} {
		if _, err := LookupID(name); !errors.Is(err, mios.ErrNotFound) {
			t.Errorf("LookupID(%q) = %v, want not found", name, err)
		}
	}
}

func TestExpand(t *testing.T) {
	get := func(n string) string { return map[string]string{"a": "1", "b.c": "two"}[n] }
	for in, want := range map[string]string{"x": "x", "${a}": "1", "-${a}${b.c}-": "-1two-", "$$a": "$a", "${no:-d}": "d", "${a:-d}": "1"} {
		if got, err := expand(in, get); got != want || err != nil {
			t.Errorf("expand(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"${no}", "${a", "$a", "${no:-}"} {
		if got, err := expand(in, get); err == nil {
			t.Errorf("expand(%q) = %q, want an error", in, got)
		}
	}
}

func TestQueue(t *testing.T) {
	script, err := initrc.Parse("f", []byte(`
on boot
  say 1
  fail
  say 2
on boot && property:a=1
  say 3
on property:a=1 && property:b=*
  say 4
on boot
  set a 1
on property:a=*
  say 5
on late
  say 6
on property:c=1
  say 7
`))
	if err != nil {
		t.Fatal(err)
	}
	d := newDevice(t)
	var said []string
	d.queue.run = func(_ context.Context, c initrc.Command) error {
		switch c.Args[0] {
		case "say":
			said = append(said, c.Args[1])
		case "set":
			return d.Props.Set(c.Args[1], c.Args[2])
		case "fail":
			return errors.New("no")
		}
		return nil
	}
	d.queue.add(script.Actions)
	step := func(want string) {
		t.Helper()
		d.queue.loop(t.Context(), false)
		if got := strings.Join(said, " "); got != want {
			t.Errorf("ran %q, want %q", got, want)
		}
		said = nil
	}
	d.queue.trigger("boot")
	d.queue.trigger("late")
	step("1 2 6")
	d.queue.trigger("boot")
	d.Props.Set("a", "1") // not an event yet
	step("1 2 3")
	d.Props.Set("b", "x")
	d.queue.push(event{}) // what holds already runs
	step("4 5")
	d.Props.Set("a", "2")
	step("5")
	d.Props.Set("a", "1")
	step("4 5")
	d.Props.Set("b", "")
	d.Props.Set("unwatched", "1")
	step("")
	if len(d.queue.events) != 0 {
		t.Error("events are left")
	}
}

func TestScriptsAreLoaded(t *testing.T) {
	d := newDevice(t)
	d.Props.Set("ro.hardware", "h")
	write(t, d, "/system/etc/init/b.rc", "import /system/etc/more\non x\n setprop order ${order}b\nservice s /b\n user root\n")
	write(t, d, "/system/etc/init/init.rc", "import /${ro.hardware}.rc\nimport /none.rc\non x\n setprop order ${order:-}i\n")
	write(t, d, "/h.rc", "on x\n setprop order ${order}h\nservice s /a\n user root\n")
	write(t, d, "/system/etc/more/o.rc", "service s /c\n user root\n override\n wrong\n")
	d.Props.Set("order", ">")
	err := d.load("/system/etc/init")
	for _, want := range []string{"b.rc:4: service s: conflict: it is defined in /h.rc:3 already", "/system/etc/more/o.rc:4: wrong"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("load = %v, want %s", err, want)
		}
	}
	d.queue.trigger("x")
	d.queue.loop(t.Context(), false)
	if got := d.Props.Get("order"); got != ">ihb" {
		t.Errorf("actions ran in the order %q, want >ihb", got)
	}
	if got := d.services.services["s"].def.Args[0]; got != "/c" {
		t.Errorf("service s is %s, want the one that overrides", got)
	}
}

func TestFileCommands(t *testing.T) {
	d := newDevice(t)
	run := func(line string) error {
		script, err := initrc.Parse("f", []byte("on x\n "+line))
		if err != nil {
			t.Fatal(err)
		}
		return d.runCommand(t.Context(), script.Actions[0].Commands[0])
	}
	for _, line := range []string{
		"mkdir /a 0711", "mkdir /a 0701", "mkdir /b", "write /a/f text", "write /a/f tex", "copy /a/f /a/g", "chmod 0640 /a/g",
		"symlink /a/f /l", "symlink /a/f /l", "rm /a/f", "rmdir /b", "export X 1", "export X 2", "setprop p v", "wait /a/g 1",
		"wait_for_prop p v", "hostname me", "loglevel 5", "load_persist_props", "setprop persist.x 1", "trigger t", "restorecon /a",
	} {
		if err := run(line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, line := range []string{"rm /none", "chmod 9 /a", "chown who /a", "wait /none 0", "symlink /x /l", "fly", "setprop a..b c",
		"start none", "ifup nosuchlink0", "insmod /none.ko", "restart x y", "exec --", "mount_all /none", "write ${none} x", "loglevel 9"} {
		if err := run(line); err == nil {
			t.Errorf("%s: no error", line)
		}
	}
	if b, err := os.ReadFile(d.path("/a/g")); string(b) != "tex" || err != nil {
		t.Errorf("file = %q, %v", b, err)
	}
	for p, want := range map[string]os.FileMode{"/a": 0o701, "/a/g": 0o640} {
		if fi, err := os.Stat(d.path(p)); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want mode %v", p, fi.Mode(), err, want)
		}
	}
	if env := d.environment(); env[len(env)-1] != "X=2" || len(env) != 2 {
		t.Errorf("environment = %q", env)
	}
	if !fileExists(d.path("/data/property/persistent_properties")) {
		t.Error("the persistent property is not on disk")
	}
}

func TestBootProperties(t *testing.T) {
	got := bootProperties("quiet androidboot.slot_suffix=_a androidboot.x=\"a b\" androidboot. androidboot.slot_suffix=_b\n")
	want := []property.Property{{Name: "ro.boot.slot_suffix", Value: "_a"}, {Name: "ro.boot.x", Value: "a b"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("bootProperties = %v, want %v", got, want)
	}
}

func TestParsePower(t *testing.T) {
	for in, want := range map[string]powerOrder{"reboot": {}, "reboot,bootloader": {target: "bootloader"}, "reboot,": {},
		"shutdown": {off: true}, "shutdown,userrequested": {off: true, target: "userrequested"}} {
		if got, err := parsePower(in); got != want || err != nil {
			t.Errorf("parsePower(%q) = %+v, %v, want %+v", in, got, err, want)
		}
	}
	if _, err := parsePower("explode"); err == nil {
		t.Error("parsePower(explode) accepts it")
	}
}

// putMisc gives the device a partition misc with a control block.
func putMisc(t *testing.T, d *Device, successful bool) {
	c := bootctl.New(2, 3)
	c.Slots[1] = bootctl.Slot{Priority: 14, Tries: 3, Successful: true}
	c.Slots[0].Successful = successful
	b, err := c.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	disk := make([]byte, 1<<14)
	copy(disk[bootctl.ControlOffset:], b)
	write(t, d, "/dev/vdz1", string(disk))
	write(t, d, "/sys/class/block/vdz1/uevent", "MAJOR=1\nDEVNAME=vdz1\nDEVTYPE=partition\nPARTNAME=misc\n")
	write(t, d, "/sys/class/block/vdz/uevent", "DEVNAME=vdz\n")
	d.Props.Set("ro.boot.slot_suffix", "_a")
}

// TestCriticalServiceFailsTheSlot is the whole way of a release that does not
// run.
func TestCriticalServiceFailsTheSlot(t *testing.T) {
	for _, successful := range []bool{false, true} {
		d := newDevice(t)
		putMisc(t, d, successful)
		rebooted := make(chan string, 1)
		d.reboot = func(cmd int, target string) { rebooted <- target }
		def := parseService(t, "service crit /bin/sh -c \"exit 7\"\n user root\n critical\n")
		def.RestartPeriod = time.Millisecond
		if err := errors.Join(d.services.add(def), d.services.start("crit")); err != nil {
			t.Fatal(err)
		}
		go d.run()
		if target := <-rebooted; target != "crit" {
			t.Errorf("reboot into %q, want crit", target)
		}
		b, err := os.ReadFile(d.path("/dev/vdz1"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := bootctl.ParseControl(b[bootctl.ControlOffset:])
		if err != nil {
			t.Fatal(err)
		}
		rec, err := bootrecord.Read(strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		if c.Slots[0].Bootable() != successful {
			t.Errorf("marked successful: %v, bootable afterwards: %v", successful, c.Slots[0].Bootable())
		}
		if i, ok := c.Choose(); !successful && (!ok || i != 1) {
			t.Errorf("slot %d, %v is chosen next, want 1", i, ok)
		}
		if len(rec.Refusals) != 1 || rec.Refusals[0].Slot != "_a" || !strings.Contains(rec.Refusals[0].Reason, "crit exited with status 7") {
			t.Errorf("record = %+v", rec)
		}
	}
}

func TestPartitionLinks(t *testing.T) {
	d := newDevice(t)
	putMisc(t, d, true)
	if err := d.linkPartitions(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.Readlink(d.path("/dev/block/by-name/misc")); got != "/dev/vdz1" || err != nil {
		t.Errorf("by-name/misc → %q, %v", got, err)
	}
	if got := d.partitions(); !maps.Equal(got, map[string]string{"misc": "/dev/vdz1"}) {
		t.Errorf("partitions = %v", got)
	}
	if err := d.tellLoader(powerOrder{target: "bootloader"}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(d.path("/dev/vdz1"))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := bootctl.ParseMessage(b); err != nil || m.Command != "bootonce-bootloader" {
		t.Errorf("message = %+v, %v", m, err)
	}
}

// TestLife is a boot and a shutdown as other processes see them.
func TestLife(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may set properties")
	}
	d := newDevice(t)
	write(t, d, "/system/etc/init/init.rc", `
on late-init
  class_start main
  setprop sys.boot_completed 1
on property:sys.boot_completed=1
  exec - root -- /bin/sh -c "echo exec says $$HOME"
  setprop done 1
on shutdown
  write /data/down yes
service s /bin/sh -c "echo ${ro.word:-hello}; exec sleep 100"
  class main
  user root
  setenv HOME x
service off /bin/sh
  class main
  user root
  disabled
`)
	type end struct {
		cmd    int
		target string
	}
	rebooted := make(chan end, 1)
	d.reboot = func(cmd int, target string) { rebooted <- end{cmd, target} }
	if err := errors.Join(d.serve(), d.load("/system/etc/init")); err != nil {
		t.Fatal(err)
	}
	go d.run()
	waitFor(t, d, "done", "1")
	c := property.Client{Path: d.path(property.Socket)}
	if v, err := c.Wait(t.Context(), "init.svc.s", "running"); err != nil {
		t.Errorf("init.svc.s = %q, %v", v, err)
	}
	if v, err := c.Get(t.Context(), "init.svc.off"); v != "" || err != nil {
		t.Errorf("init.svc.off = %q, %v, want nothing", v, err)
	}
	if err := c.Set(t.Context(), "ctl.restart", "s"); err != nil {
		t.Errorf("ctl.restart: %v", err)
	}
	if err := c.Set(t.Context(), "ctl.start", "none"); err == nil {
		t.Error("ctl.start of a service that there is not is no error")
	}
	if err := c.Set(t.Context(), property.PowerControl, "reboot,why"); err != nil {
		t.Fatal(err)
	}
	if got := <-rebooted; got != (end{unix.LINUX_REBOOT_CMD_RESTART2, "why"}) {
		t.Errorf("reboot %+v", got)
	}
	log := logOf(d)
	for _, want := range []string{"I s: hello\n", "exec says", "going down why=reboot,why"} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
	if b, err := os.ReadFile(d.path("/data/down")); string(b) != "yes" || err != nil {
		t.Errorf("the shutdown action wrote %q, %v", b, err)
	}
	if err := d.services.start("s"); !errors.Is(err, errClosed) {
		t.Errorf("start on the way down = %v", err)
	}
}
