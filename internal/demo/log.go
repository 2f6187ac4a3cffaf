package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// pollEvery is how often a log is looked at.
const pollEvery = 20 * time.Millisecond

// logMark is a place in a service's log.
type logMark struct {
	path   string
	offset int64
}

func (s *stage) mark(service string) logMark {
	m := logMark{path: filepath.Join(s.Logs, service+".log")}
	if info, err := os.Stat(m.path); err == nil {
		m.offset = info.Size()
	}
	return m
}

// logLine is one line of a service's log.
type logLine map[string]any

func (l logLine) text(key string) string {
	switch v := l[key].(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		b, _ := json.Marshal(v) //nolint:errchkjson // it came from JSON
		return string(b)
	}
}

// await returns the first line after the mark that matches.
func (m logMark) await(ctx context.Context, matches func(logLine) bool) (logLine, error) {
	ctx, cancel := context.WithTimeout(ctx, logWithin)
	defer cancel()
	for {
		for _, line := range m.lines() {
			if matches(line) {
				return line, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s says nothing of it: %w", filepath.Base(m.path), ctx.Err())
		case <-time.After(pollEvery):
		}
	}
}

// logWithin is how long a service may take to notice an attack; it looks into
// the database every few seconds at the least.
const logWithin = 20 * time.Second

func (m logMark) lines() []logLine {
	b, err := os.ReadFile(m.path)
	if err != nil || int64(len(b)) < m.offset {
		return nil
	}
	var out []logLine
	for text := range bytes.Lines(b[m.offset:]) {
		var line logLine
		if json.Unmarshal(text, &line) == nil {
			out = append(out, line)
		}
	}
	return out
}
