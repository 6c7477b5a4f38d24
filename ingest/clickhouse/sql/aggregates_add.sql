INSERT INTO aggregates (row, scope, kind, link, class, hour, reason, client, number, epoch, offset, commit_id, context, next, until, hashes, n)
