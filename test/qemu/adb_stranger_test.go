package qemu_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mios/desk"
	"mios/format/adb"
)

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// stranger connects to an adbd with a key that it does not know, and checks
// that it gets nothing.
func (d *device) stranger(serial string, pkcs1 []byte) {
	d.t.Helper()
	dir := d.t.TempDir()
	key := filepath.Join(dir, "key")
	write(d.t, key, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: pkcs1}), 0o600)
	a, err := desk.NewADB(serial, key, dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer a.Close()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	run := func(args ...string) desk.Result {
		r, err := a.Run(ctx, args...)
		if err != nil {
			d.t.Fatal(err)
		}
		return r
	}
	run("connect", serial)
	eventually(d.t, func() error {
		if out := run("devices").Stdout; !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(serial) + `\tunauthorized$`).MatchString(out) {
			return fmt.Errorf("with a key that the device does not know, adb devices says:\n%s", out)
		}
		return nil
	})
	local := filepath.Join(dir, "got")
	for _, args := range [][]string{
		{"get-state"}, {"shell", "id"}, {"shell"}, {"exec-out", "id"}, {"pull", "/system/build.prop", local}, {"push", key, "/data/local/tmp/stranger"},
		{"install", key}, {"reboot"}, {"forward", "tcp:0", "tcp:5555"}, {"reverse", "tcp:0", "tcp:1"}, {"root"},
	} {
		if r := run(args...); r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, "unauthorized") {
			d.t.Errorf("with a key that the device does not know, adb %q = %+v", args, r)
		}
	}
	if _, err := os.Stat(local); err == nil {
		d.t.Errorf("%s was written", local)
	}
	d.unasked(serial)
}

func (d *device) testUnauthorised() {
	d.stranger(d.ADB.Serial, x509.MarshalPKCS1PrivateKey(newKey(d.t)))
	if r := d.try("shell", "ls /data/local/tmp/stranger"); r.Code == 0 {
		d.t.Errorf("the stranger's file is there: %+v", r)
	}
	if got := d.adb("get-state"); got != "device\n" { // who is authorised notices nothing
		d.t.Errorf("adb get-state = %q", got)
	}
}

// unasked opens streams without an authorisation, which adb itself would not,
// and forges a signature.
func (d *device) unasked(serial string) {
	d.t.Helper()
	c, err := net.Dial("tcp", serial)
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	for i, m := range []adb.Message{
		{Command: adb.CNXN, Arg0: adb.VersionSkipChecksum, Arg1: 1 << 20, Payload: []byte("host::features=shell_v2")},
		{Command: adb.AUTH, Arg0: adb.AuthSignature, Payload: random(256)},
		{Command: adb.OPEN, Arg0: 1, Payload: []byte("shell:touch /data/local/tmp/stranger\x00")},
		{Command: adb.OPEN, Arg0: 2, Payload: []byte("tcp:5555\x00")},
		{Command: adb.OPEN, Arg0: 3, Payload: []byte("reverse:forward:tcp:19999;tcp:1\x00")},
		{Command: adb.AUTH, Arg0: adb.AuthSignature, Payload: random(256)}, // the answer comes after all others
	} {
		if _, err := c.Write(append(m.AppendHeader(nil, false), m.Payload...)); err != nil && i < 2 {
			d.t.Fatal(err)
		}
	}
	r := adb.Reader{R: c, Max: 1 << 20, SkipChecksum: true}
	for range 3 { // a token for each of CNXN and the signatures
		m, err := r.Next(nil)
		if err != nil {
			break // it has hung up
		}
		if m.Command != adb.AUTH {
			d.t.Fatalf("who is not authorised gets %v: %q", m, m.Payload)
		}
	}
	if r := d.try("shell", "nc -w 1 127.0.0.1 19999 </dev/null"); r.Code == 0 {
		d.t.Errorf("the stranger's reverse port answers: %+v", r)
	}
}
