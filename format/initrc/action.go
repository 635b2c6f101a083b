package initrc

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// An Action is a list of commands that run, in order, when its trigger comes.
type Action struct {
	Event      string      // "" where only properties trigger it
	Conditions []Condition // all must hold
	Commands   []Command   // at least one
	File       string
	Line       int
}

// A Condition holds while a property has the value, or, if Value is "*", while
// it has any that is not empty.
type Condition struct{ Name, Value string }

// Holds tells whether value, which the property has, meets the condition.
func (c Condition) Holds(value string) bool {
	return value != "" && (c.Value == "*" || c.Value == value)
}

// Trigger returns what stands behind the word on.
func (a *Action) Trigger() string {
	var terms []string
	if a.Event != "" {
		terms = append(terms, quote(a.Event))
	}
	for _, c := range a.Conditions {
		terms = append(terms, quote("property:"+c.Name+"="+c.Value))
	}
	return strings.Join(terms, " && ")
}

// parseTriggers reads the arguments of on, as ParseTriggers of AOSP's
// action_parser.cpp.
func parseTriggers(args []string) (*Action, error) {
	if len(args) == 0 {
		return nil, errors.New("actions must have a trigger")
	}
	a := new(Action)
	for i, arg := range args {
		if i%2 == 1 {
			if arg != "&&" {
				return nil, fmt.Errorf("%q where only && may join triggers", arg)
			}
			continue
		}
		if err := a.addTrigger(arg); err != nil {
			return nil, err
		}
	}
	if len(args)%2 == 0 {
		return nil, errors.New("no trigger behind the last &&")
	}
	return a, nil
}

func (a *Action) addTrigger(arg string) error {
	if cond, ok := strings.CutPrefix(arg, "property:"); ok {
		name, value, ok := strings.Cut(cond, "=")
		if !ok || name == "" || value == "" {
			return fmt.Errorf("property trigger %q needs NAME=VALUE", arg)
		}
		if slices.ContainsFunc(a.Conditions, func(c Condition) bool { return c.Name == name }) {
			return fmt.Errorf("several triggers for property %s", name)
		}
		a.Conditions = append(a.Conditions, Condition{name, value})
		return nil
	}
	if a.Event != "" {
		return fmt.Errorf("several event triggers: %s and %s", a.Event, arg)
	}
	if arg == "" {
		return errors.New("event trigger is empty")
	}
	for _, c := range []byte(arg) {
		if !alnum(c) && c != '_' && c != '-' {
			return fmt.Errorf("character %q is not allowed in event trigger %q", c, arg)
		}
	}
	a.Event = arg
	return nil
}

func alnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
