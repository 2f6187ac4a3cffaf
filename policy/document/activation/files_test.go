package activation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/countersign/countersign/internal/deploymenttest"
	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/document/activation"
	"github.com/countersign/countersign/queue"
)

// shelf is an untrusted table of files, by key.
type shelf struct {
	files map[string]string
	reads int
}

func (s *shelf) Notice(_ context.Context, topic, key string) (queue.Notice, error) {
	s.reads++
	text, ok := s.files[key]
	if topic != queue.TopicList || !ok {
		return queue.Notice{}, queue.ErrNoNotice
	}
	return queue.Notice{Topic: topic, Key: key, Body: []byte(text)}, nil
}

func account(n int) string { return fmt.Sprintf("eip155:1:0x%040x", n) }

func list(from, to int) string {
	var out strings.Builder
	for i := from; i < to; i++ {
		out.WriteString(account(i) + "\n")
	}
	return out.String()
}

// naming is a version whose list is the file of a text.
func naming(n int, text string) func(*document.Document) {
	return func(x *document.Document) {
		x.Version = n
		x.Lists = []document.List{{ID: "sanctions", File: &document.File{
			SHA256: message.Sum([]byte(text)).String(), Entries: strings.Count(text, "\n"),
		}}}
	}
}

func sum(text string) string { return message.Sum([]byte(text)).String() }

func TestFiles(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	one, two := list(0, 10), list(5, 20)
	s := &shelf{files: map[string]string{sum(one): one}}
	h := activation.New(d.Genesis, d.ID, b, nil, activation.WithFiles(s))
	b.set(t, d.Policy(naming(1, one)))
	refresh(t, h, true, 1)
	if a := h.Active(); !a.Listed("sanctions", account(9)) || a.Listed("sanctions", account(10)) {
		t.Fatal("the list is not the file's")
	}
	b.set(t, d.Policy(naming(2, one)))
	refresh(t, h, true, 2)
	if s.reads != 1 || !h.Active().Listed("sanctions", account(9)) {
		t.Fatalf("the file was read %d times", s.reads)
	}
	// The next one waits for its file, and the one before stays.
	b.set(t, d.Policy(naming(3, two)))
	refresh(t, h, false, 2)
	s.files[sum(two)] = two
	refresh(t, h, true, 3)
	if !h.Active().Listed("sanctions", account(19)) {
		t.Fatal("the list is the old one")
	}
}

// TestFilesOfTheNewest: a document that waits does not hold up the next.
func TestFilesOfTheNewest(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	h := activation.New(d.Genesis, d.ID, b, nil, activation.WithFiles(&shelf{}))
	b.set(t, d.Policy(nil), d.Policy(naming(2, list(0, 1))), d.Policy(version(3)))
	refresh(t, h, true, 3)
}

// TestAttackListFileAltered: in the table, under the key that the document
// names.
func TestAttackListFileAltered(t *testing.T) {
	d := deploymenttest.New(t)
	good := list(0, 10)
	for name, text := range map[string]string{
		"swapped": list(10, 20), "cut": list(0, 9), "extended": list(0, 11), "torn": good[:len(good)-1], "empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			var logged bytes.Buffer
			b, s := newBoard(), &shelf{files: map[string]string{sum(good): text}}
			h := activation.New(d.Genesis, d.ID, b, slog.New(slog.NewTextHandler(&logged, nil)), activation.WithFiles(s))
			b.set(t, d.For(t).Policy(naming(1, good)))
			for range 3 {
				refresh(t, h, false, 0)
			}
			if n := strings.Count(logged.String(), "level=ERROR"); n != 1 {
				t.Errorf("logged %d times:\n%s", n, logged.String())
			}
			s.files[sum(good)] = good
			refresh(t, h, true, 1)
		})
	}
}

// TestWithoutFiles: a service that looks nothing up does without them; one that
// has rules to check does not.
func TestWithoutFiles(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	b.set(t, d.Policy(naming(1, list(0, 1))))
	refresh(t, activation.New(d.Genesis, d.ID, b, nil), true, 1)
	check := activation.WithCheck(func(*document.Active) error { return nil })
	refresh(t, activation.New(d.Genesis, d.ID, b, nil, check), false, 0)
	s := &shelf{files: map[string]string{sum(list(0, 1)): list(0, 1)}}
	refresh(t, activation.New(d.Genesis, d.ID, b, nil, check, activation.WithFiles(s)), true, 1)
}

// TestCheck: a document that fails is not activated, the next one is, and the
// files are there when it is asked.
func TestCheck(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	var asked []int
	one := list(0, 3)
	h := activation.New(d.Genesis, d.ID, b, nil,
		activation.WithFiles(&shelf{files: map[string]string{sum(one): one}}),
		activation.WithCheck(func(a *document.Active) error {
			asked = append(asked, a.Version)
			if a.Version == 2 {
				return errors.New("rule large does not compile")
			}
			if a.Version == 1 && !a.Listed("sanctions", account(2)) {
				t.Error("the files are not there")
			}
			return nil
		}))
	b.set(t, d.Policy(naming(1, one)))
	refresh(t, h, true, 1)
	b.set(t, d.Policy(version(2)))
	refresh(t, h, false, 1)
	refresh(t, h, false, 1)
	b.set(t, d.Policy(version(3)), d.Policy(version(4)))
	refresh(t, h, true, 4)
	if got := fmt.Sprint(asked); got != "[1 2 4]" {
		t.Errorf("asked of %s", got)
	}
}

// TestFileNotPublished: whoever carries a document reads whose turn it is.
func TestFileNotPublished(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	h := activation.New(d.Genesis, d.ID, b, nil, activation.WithFiles(&shelf{}))
	b.set(t, d.Policy(nil))
	refresh(t, h, true, 1)
	one := list(0, 3)
	err := h.Examine(t.Context(), d.Policy(naming(2, one)))
	want := "list sanctions: its file " + sum(one) + " is not published: an operator pushes the document with it (countersign policy push, --list FILE)"
	if err == nil || err.Error() != want || errors.Is(err, activation.ErrAway) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestRunFollowsFiles: a file that comes after its document is soon seen.
func TestRunFollowsFiles(t *testing.T) {
	d, b := deploymenttest.New(t), newBoard()
	one := list(0, 3)
	s := &shelf{files: map[string]string{}}
	h := activation.New(d.Genesis, d.ID, b, nil, activation.WithFiles(s))
	activated := h.Changed()
	b.set(t, d.Policy(naming(1, one)))
	refresh(t, h, false, 0)
	s.files[sum(one)] = one
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }()
	<-activated
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
