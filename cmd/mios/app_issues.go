package main

import (
	"slices"
	"strings"

	"mios/publish/app/report"
)

// mostIssues is how many issues of one kind a page tells of.
const mostIssues = 3

// printIssues prints issues, those of one name and signer together: how many
// there are, what all of them say once, and the first few unless all are wanted.
func printIssues(p *page, name string, list []report.Issue, all bool) {
	for len(list) > 0 {
		var group, rest []report.Issue
		for _, i := range list {
			if i.Name == list[0].Name && i.Signer == list[0].Signer {
				group = append(group, i)
			} else {
				rest = append(rest, i)
			}
		}
		if len(group) == 1 {
			p.fact(name, "%s", list[0])
		} else {
			printGroup(p, name, group, all)
		}
		list = rest
	}
}

func printGroup(p *page, name string, group []report.Issue, all bool) {
	common := commonDetail(group)
	p.fact(name, "%d × %s", len(group), report.Issue{Name: group[0].Name, Signer: group[0].Signer, Detail: strings.TrimPrefix(common, ": ")})
	for n, i := range group {
		what := strings.TrimSuffix(i.Detail, common)
		if what == "" || n > 0 && i.Detail == group[n-1].Detail {
			continue
		}
		if n == mostIssues && !all && len(group) > n+1 {
			p.fact("", "and %d more: --all lists them", len(group)-n)
			return
		}
		p.fact("", "%s", what)
	}
}

// commonDetail returns what all details end with, from a colon on: what stands
// before it is what each is about. It is "" if they have nothing in common.
func commonDetail(group []report.Issue) string {
	text := group[0].Detail
	for i := strings.Index(text, ": "); i >= 0; {
		end := text[i:]
		if !slices.ContainsFunc(group, func(o report.Issue) bool { return !strings.HasSuffix(o.Detail, end) }) {
			return end
		}
		next := strings.Index(end[2:], ": ")
		if next < 0 {
			break
		}
		i += 2 + next
	}
	return ""
}
