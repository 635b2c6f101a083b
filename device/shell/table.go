package shell

import (
	"slices"
	"strings"
)

// tables returns the commands, by what they are about.
func tables() [][]Command {
	return [][]Command{builtins(), coreCommands(), textCommands(), fileCommands(), processCommands(), systemCommands(), netCommands(), deviceCommands()}
}

// commands returns every command.
func commands() []Command { return slices.Concat(tables()...) }

// Commands returns every command, sorted by name. cmd/miosd makes an applet of
// each, and build/image a link in /system/bin.
func Commands() []Command {
	all := commands()
	slices.SortFunc(all, func(a, b Command) int { return strings.Compare(a.Name, b.Name) })
	return all
}
