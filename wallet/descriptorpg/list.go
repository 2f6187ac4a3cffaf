package descriptorpg

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"
)

// maxPage is the most entries that one page has.
const maxPage = 200

// Entry is a wallet or account in a list: display only, believed by nobody.
type Entry struct {
	ID         string
	Wallet     string // of an account: its wallet's id
	Owner      string
	Descriptor []byte
	Created    time.Time
}

// Page selects entries, newest first. With All false, only those of Owner and
// those whose id (of an account: whose wallet's id) is in IDs.
type Page struct {
	All   bool
	Owner string
	IDs   []string
	After string // id to go on from; empty: from the newest
	Limit int    // 0 or above 200: 200
}

// ListWallets returns a page of wallets.
func (r *Reader) ListWallets(ctx context.Context, p Page) ([]Entry, error) {
	out, err := r.list(ctx, "wallet", "''", "", p)
	if err != nil {
		return nil, fmt.Errorf("listing wallets: %w", err)
	}
	return out, nil
}

// ListAccounts returns a page of the accounts of one wallet, or of all wallets
// where its id is empty.
func (r *Reader) ListAccounts(ctx context.Context, wallet string, p Page) ([]Entry, error) {
	out, err := r.list(ctx, "account", "r.wallet_id", wallet, p)
	if err != nil {
		return nil, fmt.Errorf("listing accounts: %w", err)
	}
	return out, nil
}

// list builds its query from constants; values go in as parameters only.
func (r *Reader) list(ctx context.Context, table, walletColumn, wallet string, p Page) ([]Entry, error) {
	var where []string
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	if wallet != "" {
		where = append(where, walletColumn+" = "+arg(wallet))
	}
	if !p.All {
		id := "r.id"
		if table == "account" {
			id = walletColumn
		}
		where = append(where, "(r.owner = "+arg(p.Owner)+" AND r.owner <> '' OR "+id+" = ANY("+arg(pq.StringArray(p.IDs))+"::text[]))")
	}
	if p.After != "" {
		where = append(where, "(r.created_at, r.id) < (SELECT a.created_at, a.id FROM countersign."+table+" a WHERE a.id = "+arg(p.After)+")")
	}
	limit := p.Limit
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	query := "SELECT r.id, " + walletColumn + ", r.owner, r.descriptor, r.created_at FROM countersign." + table + " r"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	rows, err := r.db.QueryContext(ctx, query+" ORDER BY r.created_at DESC, r.id DESC LIMIT "+arg(limit), args...)
	if err != nil {
		return nil, err
	}
	return scanEntries(rows)
}

func scanEntries(rows *sql.Rows) ([]Entry, error) {
	defer rows.Close()
	var out []Entry
	for rows.Next() {
		var e Entry
		if err := rows.Scan(&e.ID, &e.Wallet, &e.Owner, &e.Descriptor, &e.Created); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, rows.Err()
}
