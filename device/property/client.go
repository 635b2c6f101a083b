package property

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// Socket is where init's property service listens, as in AOSP.
const Socket = "/dev/socket/property_service"

// A Client talks to the property service. The zero value talks to init's.
// Each call is a connection of its own, so a Client may be used from several
// goroutines, and goes on working when init is replaced in a test.
type Client struct {
	Path string // of the socket; "" means [Socket]
}

// Get returns a property's value, "" if it is not set.
func (c Client) Get(ctx context.Context, name string) (string, error) {
	v, err := c.call(ctx, "get", cmdGet, name)
	if err != nil {
		return "", err
	}
	return v[0], nil
}

// Set sets a property. The error wraps [mios.ErrDenied] where the caller may
// not set it (or the name is read-only and already set), and
// [mios.ErrInvalid] where name or value break a rule of [CheckName],
// [CheckValue]. Set returns once the value can be read, and for persist.
// names once it is durable.
func (c Client) Set(ctx context.Context, name, value string) error {
	_, err := c.call(ctx, "set", cmdSet, name, value)
	return err
}

// List returns all properties, in byte order of their names.
func (c Client) List(ctx context.Context) ([]Property, error) {
	v, err := c.call(ctx, "list", cmdList)
	if err != nil {
		return nil, err
	}
	if len(v)%2 != 0 {
		return nil, fmt.Errorf("property list: odd number of strings in the answer")
	}
	list := make([]Property, 0, len(v)/2)
	for i := 0; i < len(v); i += 2 {
		list = append(list, Property{v[i], v[i+1]})
	}
	return list, nil
}

// Wait returns once the property has the value, or, where value is "", once
// it has any value that is not empty; it returns the value. Nothing is polled.
func (c Client) Wait(ctx context.Context, name, value string) (string, error) {
	v, err := c.call(ctx, "wait for", cmdWait, name, value)
	if err != nil {
		return "", err
	}
	return v[0], nil
}

// call sends one request and returns the strings of the answer, at least one
// for get and wait.
func (c Client) call(ctx context.Context, verb string, cmd uint32, args ...string) ([]string, error) {
	what := verb
	if len(args) > 0 {
		what += " " + args[0]
	}
	path := c.Path
	if path == "" {
		path = Socket
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("property %s: %w", what, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	msg := binary.LittleEndian.AppendUint32(nil, cmd)
	for _, a := range args {
		msg = appendString(msg, a)
	}
	answer, err := roundTrip(conn, msg, cmd)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("property %s: %w", what, err)
	}
	return answer, nil
}

// roundTrip writes the request and reads the status and, for the commands
// that have one, the answer.
func roundTrip(conn io.ReadWriter, msg []byte, cmd uint32) ([]string, error) {
	if _, err := conn.Write(msg); err != nil {
		return nil, err
	}
	code, err := readUint32(conn)
	if err != nil {
		return nil, err
	}
	if code != statusSuccess {
		return nil, status(code)
	}
	if cmd == cmdSet {
		return nil, nil
	}
	n, err := readUint32(conn)
	if err != nil {
		return nil, err
	}
	if n > maxStrings || n == 0 && cmd != cmdList {
		return nil, fmt.Errorf("answer of %d strings", n)
	}
	var answer []string
	for range n {
		s, err := readString(conn)
		if err != nil {
			return nil, err
		}
		answer = append(answer, s)
	}
	return answer, nil
}
