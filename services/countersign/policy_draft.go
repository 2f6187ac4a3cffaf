package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/judge"
	"github.com/countersign/countersign/policy/rules"
	"github.com/countersign/countersign/policy/trial"
)

// draft is a policy document that is not live, with the files of its lists.
type draft struct {
	path  string
	raw   []byte
	doc   *document.Document
	files map[string]*document.ListFile
	given []listText // the files, in their order, without their bytes
}

// readDraft reads a document and the files of its lists.
func readDraft(path string, lists []string) (draft, error) {
	d := draft{path: path, files: map[string]*document.ListFile{}}
	var err error
	if d.raw, d.doc, err = parsePolicy(path); err != nil {
		return d, err
	}
	return d, d.add(lists)
}

// add reads further files of lists.
func (d *draft) add(lists []string) error {
	for _, name := range lists {
		text, err := readList(name)
		if err != nil {
			return err
		}
		d.files[text.file.SHA256()] = text.file
		d.given = append(d.given, listText{path: name, file: text.file})
	}
	return nil
}

// listText is a list's file, and where it came from.
type listText struct {
	path string
	raw  []byte
	file *document.ListFile
}

func readList(path string) (listText, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return listText{}, fmt.Errorf("reading list: %w", err)
	}
	file, err := document.ReadList(raw)
	if err != nil {
		return listText{}, advise(fmt.Errorf("list %s: %w", path, err), "write one CAIP-10 account on each line, such as eip155:1:0x and 40 hex digits in lower case")
	}
	return listText{path, raw, file}, nil
}

// sound refuses a draft that the services would refuse.
func (d *draft) sound() error {
	report := trial.Check(d.doc, d.files, trial.Deployment{}, d.doc.Expires.Add(-1))
	return advise(errors.Join(report.Faults...), "%s", d.mend())
}

// mend says what to do about a faulty draft.
func (d *draft) mend() string {
	if next := d.missingList(); next != "" {
		return next
	}
	return "mend the document; countersign policy check " + d.path + " tells every fault"
}

// missingList says which file of a list is to be given, and which of those that
// are given are none of the document's; empty where all are there.
func (d *draft) missingList() string {
	for _, l := range d.doc.Lists {
		if l.File != nil && d.files[l.File.SHA256] == nil {
			missing := fmt.Sprintf("give --list FILE for each list that has a file, or correct its sha256 and entries: %s", wants(l))
			return strings.Join(append([]string{missing}, d.unnamed()...), "; ")
		}
	}
	return ""
}

// unnamed says of each file that is given and that no list names which one it is.
func (d *draft) unnamed() (out []string) {
	for _, text := range d.given {
		if !namesFile(d.doc, text.file.SHA256()) {
			out = append(out, fmt.Sprintf("%s has the SHA-256 %s, which no list of the document names", text.path, text.file.SHA256()))
		}
	}
	return out
}

func namesFile(doc *document.Document, digest string) bool {
	return slices.ContainsFunc(doc.Lists, func(l document.List) bool { return l.File != nil && l.File.SHA256 == digest })
}

// wants says which file a list by file is.
func wants(l document.List) string { return l.ID + " wants " + l.File.SHA256 }

// listFlag adds --list.
func listFlag(c *cobra.Command, lists *[]string) {
	c.Flags().StringArrayVar(lists, "list", nil, "file of one of the document's lists; give it once for each")
}

// writeDecision says what each role decides and, with every, what each of its
// rules came to.
func writeDecision(w io.Writer, d trial.Decision, every bool) {
	for _, r := range d.Roles {
		fmt.Fprintf(w, "%s: %s%s\n", r.Role, r.Verdict, ruleList(r.Rules))
		for _, a := range r.Asks {
			fmt.Fprintf(w, "  asks   %d of %s: %s\n", a.Quorum, strings.Join(a.Approvers, ", "), a.Reason)
		}
		for _, reason := range r.Reasons {
			if reason.Code != rules.CodeAsks && reason.Code != judge.CodeAllows { // these stand above
				fmt.Fprintf(w, "  why    %s: %s\n", reason.Code, reason.Detail)
			}
		}
		if every {
			writeSteps(w, r.Steps)
		}
	}
}

func ruleList(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return ", by " + strings.Join(ids, ", ")
}

func writeSteps(w io.Writer, steps []trial.Step) {
	for _, s := range steps {
		value := fmt.Sprint(s.Value)
		switch {
		case s.Error != "":
			value = "ERROR"
		case !s.Applies:
			value = "-"
		}
		fmt.Fprintf(w, "  %-6s %-5s  %s\n", value, s.Effect, s.Rule)
		for _, line := range []string{s.Error, s.Why} {
			if line != "" {
				fmt.Fprintf(w, "         %s\n", strings.ReplaceAll(line, "\n", "\n         "))
			}
		}
	}
}

// requiredRoles are those that a descriptor names.
func requiredRoles(descriptor []byte) ([]string, error) {
	var of struct {
		Roles []string `json:"roles"`
	}
	if err := json.Unmarshal(descriptor, &of); err != nil {
		return nil, fmt.Errorf("descriptor: %w", err)
	}
	return of.Roles, nil
}

// hash names the exact bytes of a draft.
func (d *draft) hash() message.Hash { return message.Sum(d.raw) }
