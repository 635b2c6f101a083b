//go:build !ramdisk

package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mios/device/logd"
)

func TestLogcat(t *testing.T) {
	ring := logd.NewRing(1 << 20)
	at := time.Date(2026, 11, 22, 10, 20, 30, 0, time.Local)
	for _, e := range []logd.Entry{
		{ID: logd.Kernel, Priority: logd.Info, Tag: "kernel", Message: "virtio up"},
		{ID: logd.Main, PID: 7, TID: 7, Priority: logd.Warn, Tag: "netd", Message: "no lease"},
		{ID: logd.Main, PID: 7, TID: 7, Priority: logd.Info, Tag: "netd", Message: "online"},
	} {
		e.Time = at
		ring.Append(e)
	}
	path := filepath.Join(t.TempDir(), "logdr")
	l, err := logd.ListenReaders(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go ring.ServeReaders(ctx, l)

	const kernel, main = "--------- beginning of kernel\n", "--------- beginning of main\n"
	for _, c := range []struct{ args, out, err string }{
		{"-d -v brief", kernel + "I/kernel  (    0): virtio up\n" + main + "W/netd    (    7): no lease\nI/netd    (    7): online\n", ""},
		{"-d *:W", main + "11-22 10:20:30.000     7     7 W netd    : no lease\n", ""},
		{"-d -s kernel -v raw", kernel + "virtio up\n", ""},
		{"-t 1 -v tag", main + "I/netd    : online\n", ""},
		{"-d -b kernel -v raw", kernel + "virtio up\n", ""},
		{"-d -e ^on -v raw", main + "online\n", ""},
		{"-m 1 -v raw", kernel + "virtio up\n", ""},
		{"-d -v loud", "", `format "loud"`},
		{"-d -b none", "", "no buffer"},
		{"-d netd:X", "", `filter "netd:X"`},
		{"-c", "", ""},
		{"-d", "", ""},
	} {
		var out, usage strings.Builder
		err := runLogcat(t.Context(), path, strings.Fields(c.args), &out, &usage)
		if out.String() != c.out || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("logcat %s: %v\n%swant %s\n%s", c.args, err, out.String(), c.err, c.out)
		}
	}
}
