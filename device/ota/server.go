package ota

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"mios"
	"mios/device/socket"
)

// Socket is where the engine listens: root and the shell of a desk may connect.
const Socket = "/dev/socket/update_engine"

// A Call is one line of JSON from a client; the engine answers with lines that
// are an [Answer] each, and closes the connection after the last.
type Call struct {
	Verb Verb `json:"verb"`
	// Follow asks for a line whenever the status changes, until the verb is done.
	Follow bool `json:"follow,omitempty"`
	// Unmetered lets an update fetch more than the product's budget.
	Unmetered bool `json:"unmetered,omitempty"`
}

// A Verb is what a client asks for.
type Verb string

// The verbs.
const (
	VerbStatus   Verb = "status"    // the status; with Follow until an update is ready, or has failed, or none is under way
	VerbCheck    Verb = "check"     // look for a release
	VerbUpdate   Verb = "update"    // look for a release and install it
	VerbReboot   Verb = "reboot"    // into an update that is ready
	VerbResetBad Verb = "reset-bad" // forget which releases are bad
)

// An Answer is one line of JSON to a client. The last one has Done set.
type Answer struct {
	Status *Status `json:"status,omitempty"`
	Done   bool    `json:"done,omitempty"`
	// Error is why the verb failed, in one sentence.
	Error string `json:"error,omitempty"`
	// Nothing says that Error only means that there is no release to install.
	Nothing bool `json:"nothing,omitempty"`
}

const (
	maxCall     = 4096             // bytes of a call
	callTimeout = 10 * time.Second // for a client to say what it wants, or to read a line
)

// Serve answers clients until ctx ends. It closes l.
func (e *Engine) Serve(ctx context.Context, l *net.UnixListener) error {
	return socket.Serve(ctx, l, func(conn *net.UnixConn) {
		if err := e.serve(ctx, conn); err != nil {
			e.log.Debug("client", "err", err)
		}
	}, func(err error) { e.log.Warn("accept", "err", err) })
}

func (e *Engine) serve(ctx context.Context, conn net.Conn) error {
	conn.SetReadDeadline(time.Now().Add(callTimeout))
	line, err := bufio.NewReaderSize(io.LimitReader(conn, maxCall), maxCall).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("call: %w", err)
	}
	send := func(a Answer) error {
		b, err := json.Marshal(a)
		if err != nil {
			return err
		}
		conn.SetWriteDeadline(time.Now().Add(callTimeout))
		_, err = conn.Write(append(b, '\n'))
		return err
	}
	var c Call
	if err := json.Unmarshal(line, &c); err != nil {
		return send(Answer{Done: true, Error: "call: " + err.Error()})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // a client that goes away ends what it follows, not what it started
		conn.SetReadDeadline(time.Time{})
		io.Copy(io.Discard, conn)
		cancel()
	}()
	err = e.call(ctx, c, func(s Status) error { return send(Answer{Status: &s}) })
	last := Answer{Done: true, Error: sentence(err), Nothing: errors.Is(err, errNothing)}
	s, _ := e.Status()
	last.Status = &s
	return send(last)
}

// call does what a client asks for; tell is given the statuses to follow.
func (e *Engine) call(ctx context.Context, c Call, tell func(Status) error) error {
	verbs := map[Verb]func(context.Context) error{
		VerbStatus:   func(context.Context) error { return nil },
		VerbCheck:    e.Check,
		VerbUpdate:   e.Update,
		VerbReboot:   e.Reboot,
		VerbResetBad: e.ResetBad,
	}
	if c.Unmetered {
		verbs[VerbUpdate] = e.UpdateUnmetered
	}
	do := verbs[c.Verb]
	switch {
	case do == nil:
		return fmt.Errorf("verb %q: %w", c.Verb, mios.ErrInvalid)
	case !c.Follow:
		return do(ctx)
	case c.Verb == VerbStatus:
		return e.Follow(ctx, func(s Status) bool { return tell(s) == nil && s.State.moving() })
	}
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	for {
		s, changed := e.Status()
		if err := tell(s); err != nil {
			return err
		}
		select {
		case err := <-done:
			return err
		case <-changed:
		}
	}
}

// moving reports whether the engine goes on from the state without being asked.
func (s State) moving() bool {
	switch s {
	case Idle, Available, NeedReboot, Reporting:
		return false
	}
	return true
}
