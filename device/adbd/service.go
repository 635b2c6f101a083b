package adbd

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// A serveFunc serves a stream that the host opened. It accepts it, and returns
// when it is done with it; before the stream is accepted, an error refuses it.
type serveFunc func(ctx context.Context, st *stream) error

// answers are services that only say something. Their newline is adb's.
var answers = map[string]string{
	"root":           "adbd runs as root already\n",
	"unroot":         "adbd runs as root in userdebug builds and cannot be restarted as another user: build the product as user\n",
	"usb":            "this device has no adb over USB: it stays on TCP\n",
	"tcpip":          "adbd listens on TCP already: its port is 5555, see the product's init script to change it\n",
	"remount":        "the system partition is a read-only erofs image under dm-verity and cannot be remounted: build a new image\n",
	"disable-verity": "verity is part of how this device boots and cannot be disabled: build a new image\n",
	"enable-verity":  "verity is always enabled\n",
}

// service returns what serves a destination, or nil.
//
// AOSP: packages/modules/adb/SERVICES.TXT, daemon/services.cpp.
func (c *conn) service(destination string) serveFunc {
	name, arg, _ := strings.Cut(destination, ":")
	if text, ok := answers[name]; ok {
		return say(text)
	}
	kind, _, _ := strings.Cut(name, ",")
	switch kind {
	case "shell":
		return c.shell(name, arg)
	case "exec":
		return func(ctx context.Context, st *stream) error { return c.execute(st, arg) }
	case "sync":
		return func(ctx context.Context, st *stream) error { return serveSync(c.s, st) }
	case "reboot":
		return func(ctx context.Context, st *stream) error { return c.reboot(ctx, st, arg) }
	case "reverse":
		return func(ctx context.Context, st *stream) error { return c.reverse(st, arg) }
	case "tcp", "local", "localabstract", "localfilesystem", "localreserved":
		return func(ctx context.Context, st *stream) error { return c.forward(ctx, st, destination) }
	case "dev":
		return func(ctx context.Context, st *stream) error { return c.device(st, arg) }
	}
	return nil
}

func say(text string) serveFunc {
	return func(ctx context.Context, st *stream) error {
		if err := st.accept(); err != nil {
			return err
		}
		_, err := io.WriteString(st, text)
		return err
	}
}

// reboot asks init for it, and refuses the stream where init does.
func (c *conn) reboot(ctx context.Context, st *stream, target string) error {
	value := "reboot"
	if target != "" {
		value += "," + target
	}
	if err := c.s.Properties.Set(ctx, "sys.powerctl", value); err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	return st.accept()
}
