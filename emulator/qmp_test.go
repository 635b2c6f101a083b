package emulator

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"testing"
)

// TestLateAnswer: an answer that nobody waited for is not taken for that of the
// next command.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer ours.Close()
	first := make(chan struct{})
	go func() {
		defer theirs.Close()
		fmt.Fprintln(theirs, `{"QMP": {}}`)
		lines := bufio.NewScanner(theirs)
		for lines.Scan() {
			var c struct {
				Execute string `json:"execute"`
				ID      int64  `json:"id"`
			}
			if json.Unmarshal(lines.Bytes(), &c) != nil {
				return
			}
			if c.Execute == "slow" {
				close(first)
				if !lines.Scan() { // the next command comes before the answer
					return
				}
				fmt.Fprintf(theirs, `{"return": "slow", "id": %d}`+"\n", c.ID)
				if json.Unmarshal(lines.Bytes(), &c) != nil {
					return
				}
			}
			fmt.Fprintf(theirs, `{"return": %q, "id": %d}`+"\n", c.Execute, c.ID)
		}
	}()
	q, err := dialQMP(t.Context(), ours, func(string, json.RawMessage) {})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-first; cancel() }()
	if _, err := q.command(ctx, "slow", nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("slow = %v, want context.Canceled", err)
	}
	got, err := q.command(t.Context(), "quick", nil)
	if err != nil || string(got) != `"quick"` {
		t.Errorf("quick = %s, %v", got, err)
	}
	ours.Close()
	for range q.answers {
	}
	if _, err := q.command(t.Context(), "none", nil); !errors.Is(err, errQMPEnded) {
		t.Errorf("a command after the end = %v", err)
	}
}
