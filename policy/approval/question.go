package approval

import (
	"slices"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/policy/document"
	"github.com/countersign/countersign/policy/rules"
)

// question is one rule that asks people, with the votes that count for it.
type question struct {
	rule, reason string
	voters       []string // ids of approvers
	quorum       int
	tally        document.Tally
}

// lacks is how many persons have still to agree; never negative.
func (q *question) lacks() int { return max(0, q.quorum-len(q.tally.Persons)) }

// questions are all rules that ask about one request. Each must be answered by
// its own quorum; one person's vote counts for every rule that asks that
// person.
type questions []question

// poll is the votes on one request and what they are counted by.
type poll struct {
	active *document.Active
	ballot ballot
	want   message.Vote
	user   string // who asks
	now    time.Time
	frozen func(person string) bool // nil: nobody is
}

// ask counts the votes for each rule that asks.
func (p poll) ask(asks []rules.Asking) questions {
	out := make(questions, 0, len(asks))
	votes := p.agreements()
	for _, a := range asks {
		q := question{rule: a.Rule, reason: a.Reason, voters: p.active.Voters(a.Approvers), quorum: a.Quorum}
		if q.quorum == 0 {
			q.quorum = p.active.Approval.Quorum
		}
		q.tally = document.CountFor(p.active, votes, p.want, p.user, p.now, a.Approvers)
		out = append(out, q)
	}
	return out
}

// agreements are the votes for the request but those of persons who are frozen:
// whoever has their phone may have their key. Their rejections count.
func (p poll) agreements() []string {
	if p.frozen == nil {
		return p.ballot.approvals()
	}
	others := slices.DeleteFunc(slices.Clone(p.ballot), func(c cast) bool { return p.frozen(p.active.Person(c.vote.Approver)) })
	return others.approvals()
}

// asks says whether any rule asks this approver.
func (qs questions) asks(approver string) bool {
	return slices.ContainsFunc(qs, func(q question) bool { return slices.Contains(q.voters, approver) })
}

// counted says whether a person's agreement counts already for every rule that
// asks the approver.
func (qs questions) counted(approver, person string) bool {
	return !slices.ContainsFunc(qs, func(q question) bool {
		return slices.Contains(q.voters, approver) && !slices.Contains(q.tally.Persons, person)
	})
}

// unanswerable returns a reason for each rule that asks, but nobody.
func (qs questions) unanswerable() (reasons []message.Reason) {
	for _, q := range qs {
		if q.quorum < 1 || len(q.voters) == 0 {
			reasons = append(reasons, message.Reason{
				Code: CodeNoApprovers, Detail: "rule " + q.rule + " asks people, but the policy names none",
			})
		}
	}
	return reasons
}

// worst returns the question that lacks most, the first of several; nil if there
// is no question.
func (qs questions) worst() *question {
	var worst *question
	for i := range qs {
		if worst == nil || qs[i].lacks() > worst.lacks() {
			worst = &qs[i]
		}
	}
	return worst
}

// open returns the question that lacks most; nil if all are answered.
func (qs questions) open() *question {
	if q := qs.worst(); q != nil && q.lacks() > 0 {
		return q
	}
	return nil
}

// evidence is every vote that counts for a question, once.
func (qs questions) evidence() (votes []string) {
	for _, q := range qs {
		for _, vote := range q.tally.Good {
			if !slices.Contains(votes, vote) {
				votes = append(votes, vote)
			}
		}
	}
	return votes
}
