package emulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// qmp is a client of QEMU's machine protocol, qemu-qmp-ref(7): lines of JSON,
// answers in order, events in between.
type qmp struct {
	w       io.Writer
	mu      sync.Mutex // one command at a time
	answers chan qmpMessage
	onEvent func(name string, data json.RawMessage)
	id      int64 // of the last command
}

type qmpMessage struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	ID    int64           `json:"id"`
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
	QMP   json.RawMessage `json:"QMP"`
}

// errQMPEnded is what commands return when QEMU has closed the connection.
var errQMPEnded = errors.New("qmp: QEMU has ended")

// dialQMP waits for the greeting on rw and enters command mode. Events go to
// onEvent, from one goroutine.
func dialQMP(ctx context.Context, rw io.ReadWriter, onEvent func(string, json.RawMessage)) (*qmp, error) {
	q := &qmp{w: rw, answers: make(chan qmpMessage, 1), onEvent: onEvent}
	greeted := make(chan struct{})
	go q.read(rw, greeted)
	select {
	case <-greeted:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	_, err := q.command(ctx, "qmp_capabilities", nil)
	return q, err
}

// read sorts what QEMU sends. answers is closed at the end.
func (q *qmp) read(r io.Reader, greeted chan struct{}) {
	defer close(q.answers)
	d := json.NewDecoder(r)
	first := true
	for {
		var m qmpMessage
		if err := d.Decode(&m); err != nil {
			if first {
				close(greeted)
			}
			return
		}
		switch {
		case m.QMP != nil && first:
			first = false
			close(greeted)
		case m.Event != "":
			q.onEvent(m.Event, m.Data)
		case m.Return != nil || m.Error != nil:
			q.answers <- m
		}
	}
}

// command runs one command and returns what it returned.
func (q *qmp) command(ctx context.Context, name string, args any) (json.RawMessage, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.id++
	b, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        int64  `json:"id"`
	}{name, args, q.id})
	if err != nil {
		return nil, err
	}
	if _, err := q.w.Write(append(b, '\n')); err != nil {
		return nil, errQMPEnded
	}
	for {
		select {
		case m, ok := <-q.answers:
			switch {
			case !ok:
				return nil, errQMPEnded
			case m.ID != q.id:
				continue // to a command that nobody waited for to the end
			case m.Error != nil:
				return nil, fmt.Errorf("qmp: %s: %s: %s", name, m.Error.Class, m.Error.Desc)
			}
			return m.Return, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("qmp: %s: %w", name, context.Cause(ctx))
		}
	}
}

// human runs a command of the human monitor and returns its text.
func (q *qmp) human(ctx context.Context, line string) (string, error) {
	raw, err := q.command(ctx, "human-monitor-command", map[string]string{"command-line": line})
	if err != nil {
		return "", err
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", fmt.Errorf("qmp: %s: %v", line, err)
	}
	return s, nil
}
