-- The lease of tasks that nothing was written of is given up.
UPDATE countersign.task SET leased_until = '-infinity' WHERE consumer = $1 AND request_id = ANY($2::uuid[])
