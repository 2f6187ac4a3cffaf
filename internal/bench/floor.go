package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"fmt"
	"runtime"
	"sync"
	"time"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"
	"github.com/google/uuid"

	"github.com/countersign/countersign/internal/message"
)

// rowsPerRequest is how many rows the floor writes for a request, and
// rowsPerCommit how many requests share a commit.
const (
	rowsPerRequest = 6
	rowsPerCommit  = 50
)

// floor is the rate at which this machine could sign requests if there were
// nothing but the parts: cpu for the cryptography and the coding, rows for
// the database, each on all cores; one request needs both.
type floor struct{ cpu, rows float64 }

func (f floor) perSecond() float64 { return 1 / (1/f.cpu + 1/f.rows) }

func (f floor) mean(g floor) floor {
	return floor{cpu: (f.cpu + g.cpu) / 2, rows: (f.rows + g.rows) / 2}
}

func measureFloor(ctx context.Context, db *sql.DB, length time.Duration) (floor, error) {
	cpu, err := onAllCores(ctx, length, func() (func() error, error) { return newParts() })
	if err != nil {
		return floor{}, err
	}
	if _, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS bench_row (id uuid, part smallint, body bytea)`); err != nil {
		return floor{}, err
	}
	batches, err := onAllCores(ctx, length, func() (func() error, error) { return newRows(ctx, db) })
	if err != nil {
		return floor{}, err
	}
	if _, err := db.ExecContext(ctx, `DROP TABLE bench_row`); err != nil {
		return floor{}, err
	}
	return floor{cpu: cpu, rows: batches * rowsPerCommit}, nil
}

// onAllCores runs one worker per core for the given time and returns how many
// steps they made per second together.
func onAllCores(ctx context.Context, length time.Duration, worker func() (func() error, error)) (float64, error) {
	var (
		wait  sync.WaitGroup
		mutex sync.Mutex
		steps int
		first error
	)
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	start := time.Now()
	for range runtime.NumCPU() {
		step, err := worker()
		if err != nil {
			return 0, err
		}
		wait.Go(func() {
			n := 0
			var err error
			for ctx.Err() == nil && err == nil {
				if err = step(); err == nil {
					n++
				}
			}
			mutex.Lock()
			defer mutex.Unlock()
			steps += n
			if first == nil && ctx.Err() == nil {
				first = err
			}
		})
	}
	wait.Wait()
	return float64(steps) / time.Since(start).Seconds(), first
}

// newParts returns a step that does the cryptography and coding of one
// request: three Ed25519 signatures and verifications over the encoded
// approvals, their encoding and decoding, one AES-256-GCM open with a new key,
// one secp256k1 signature.
func newParts() (func() error, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	account, err := ethcrypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	key, nonce := make([]byte, 32), make([]byte, 12)
	rand.Read(key)
	sealed, err := seal(key, nonce, make([]byte, 64))
	if err != nil {
		return nil, err
	}
	approval := sampleApproval()
	return func() error {
		for range 3 {
			b, err := message.Encode(approval)
			if err != nil {
				return err
			}
			signature := ed25519.Sign(private, b)
			if !ed25519.Verify(public, b, signature) {
				return fmt.Errorf("floor: signature does not verify")
			}
			var again message.Approval
			if err := message.DecodeStrict(b, &again); err != nil {
				return err
			}
		}
		if _, err := open(key, nonce, sealed); err != nil {
			return err
		}
		digest := message.Sum(sealed)
		_, err := ethcrypto.Sign(digest[:], account)
		return err
	}, nil
}

func sampleApproval() message.Approval {
	now := message.At(time.Now())
	return message.Approval{
		Origin:   message.Origin{Version: message.Version, Generation: 1},
		Role:     message.RoleFraud,
		Instance: uuid.NewString(), Request: uuid.NewString(),
		Kind:   message.KindEthereumTransaction,
		Wallet: message.Hash{}.String(), Account: message.Hash{}.String(),
		Digests:  []message.Digest{{Algorithm: message.AlgorithmSecp256k1, Value: make([]byte, 32)}},
		Decision: message.Approve, Issued: now, Expires: now,
		Epochs: []message.EpochShares{{}},
	}
}

func aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func seal(key, nonce, plaintext []byte) ([]byte, error) {
	a, err := aead(key)
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nonce, plaintext, nil), nil
}

func open(key, nonce, sealed []byte) ([]byte, error) {
	a, err := aead(key)
	if err != nil {
		return nil, err
	}
	return a.Open(nil, nonce, sealed, nil)
}

// newRows returns a step that writes the rows of rowsPerCommit requests in one
// durable commit: six prepared inserts of 50 rows of 400 bytes.
func newRows(ctx context.Context, db *sql.DB) (func() error, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	insert, err := conn.PrepareContext(ctx, `
		INSERT INTO bench_row (id, part, body)
		SELECT gen_random_uuid(), $1, $2 FROM generate_series(1, $3)`)
	if err != nil {
		return nil, err
	}
	body := make([]byte, 400)
	rand.Read(body)
	return func() error {
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		for part := range rowsPerRequest {
			if _, err := tx.StmtContext(ctx, insert).ExecContext(ctx, part, body, rowsPerCommit); err != nil {
				_ = tx.Rollback()
				return err
			}
		}
		return tx.Commit()
	}, nil
}

// measureCommits returns the times of durable commits of one row each, one
// after the other, over the same TLS as the services use.
func measureCommits(ctx context.Context, db *sql.DB, count int) ([]time.Duration, error) {
	if _, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS bench_commit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea)`); err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	insert, err := conn.PrepareContext(ctx, `INSERT INTO bench_commit (body) VALUES ($1)`)
	if err != nil {
		return nil, err
	}
	body := make([]byte, 400)
	var out []time.Duration
	for range count {
		start := time.Now()
		if _, err := insert.ExecContext(ctx, body); err != nil {
			return nil, err
		}
		out = append(out, time.Since(start))
	}
	_, err = conn.ExecContext(ctx, `DROP TABLE bench_commit`)
	return out, err
}
