package database

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
)

// Statement is a query that is prepared once on each connection that uses it,
// so that running it takes one round trip and no planning. It is safe for
// concurrent use with one and the same pool.
type Statement struct {
	text string
	mu   sync.Mutex
	stmt atomic.Pointer[sql.Stmt]
}

// NewStatement returns the statement with this text.
func NewStatement(text string) *Statement { return &Statement{text: text} }

// Text returns the statement's text, for connections of another pool.
func (s *Statement) Text() string { return s.text }

// On returns the statement for use outside of a transaction, or inside tx
// where tx is not nil; tx must come from db.
func (s *Statement) On(ctx context.Context, db *sql.DB, tx *sql.Tx) (*sql.Stmt, error) {
	if tx != nil {
		return s.inside(ctx, db, tx)
	}
	if stmt := s.stmt.Load(); stmt != nil {
		return stmt, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prepare(ctx, db)
}

// inside never waits for another transaction to prepare the statement: all of
// the pool's connections may be in transactions that wait for the same.
func (s *Statement) inside(ctx context.Context, db *sql.DB, tx *sql.Tx) (*sql.Stmt, error) {
	stmt := s.stmt.Load()
	if stmt == nil {
		if !s.mu.TryLock() {
			return tx.PrepareContext(ctx, s.text)
		}
		defer s.mu.Unlock()
		var err error
		if stmt, err = s.prepare(ctx, db); err != nil {
			return nil, err
		}
	}
	return tx.StmtContext(ctx, stmt), nil
}

func (s *Statement) prepare(ctx context.Context, db *sql.DB) (*sql.Stmt, error) {
	if stmt := s.stmt.Load(); stmt != nil {
		return stmt, nil
	}
	stmt, err := db.PrepareContext(ctx, s.text)
	if err != nil {
		return nil, fmt.Errorf("preparing statement: %w", err)
	}
	s.stmt.Store(stmt)
	return stmt, nil
}
