package history_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"mios"
	"mios/publish/app/history"
)

func chain(n int) []history.Event {
	var list []history.Event
	for i := range n {
		e := history.Event{Time: time.Unix(int64(i), 0), Who: "ada", What: "release", Package: "org.example.clock", Why: fmt.Sprint(i), Data: []byte(`{"share":100}`)}
		if i == 0 {
			e.Follow(nil)
		} else {
			e.Follow(&list[i-1])
		}
		list = append(list, e)
	}
	return list
}

func events(list []history.Event) iter.Seq2[*history.Event, error] {
	return func(yield func(*history.Event, error) bool) {
		for i := range list {
			if !yield(&list[i], nil) {
				return
			}
		}
	}
}

func TestVerify(t *testing.T) {
	list := chain(5)
	last, err := history.Verify(events(list))
	if err != nil || last.Seq != 5 || last.Hash != list[4].Hash {
		t.Errorf("Verify = %+v, %v", last, err)
	}
	if last, err := history.Verify(events(nil)); last != nil || err != nil {
		t.Errorf("Verify of nothing = %+v, %v", last, err)
	}
	for name, tt := range map[string]struct {
		change func(l []history.Event) []history.Event
		seq    int64
	}{
		"who":      {func(l []history.Event) []history.Event { l[2].Who = "eve"; return l }, 3},
		"why":      {func(l []history.Event) []history.Event { l[2].Why = ""; return l }, 3},
		"what":     {func(l []history.Event) []history.Event { l[2].What = "halt"; return l }, 3},
		"when":     {func(l []history.Event) []history.Event { l[2].Time = time.Unix(9, 0); return l }, 3},
		"data":     {func(l []history.Event) []history.Event { l[2].Data = nil; return l }, 3},
		"of what":  {func(l []history.Event) []history.Event { l[2].Package = ""; return l }, 3},
		"rehashed": {func(l []history.Event) []history.Event { l[2].Who = "eve"; l[2].Hash = l[2].Sum(); return l }, 4},
		"missing":  {func(l []history.Event) []history.Event { return slices.Delete(l, 2, 3) }, 3},
		"swapped":  {func(l []history.Event) []history.Event { l[2], l[3] = l[3], l[2]; return l }, 3},
		"moved":    {func(l []history.Event) []history.Event { l[2].Who, l[2].What = "adar", "elease"; return l }, 3},
	} {
		_, err := history.Verify(events(tt.change(chain(5))))
		var broken *history.BrokenError
		if !errors.As(err, &broken) || broken.Seq != tt.seq || !errors.Is(err, mios.ErrInvalid) {
			t.Errorf("%s changed: Verify = %v, want that it breaks at %d", name, err, tt.seq)
		}
	}
}
