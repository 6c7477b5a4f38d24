INSERT INTO control_mark (only, position) VALUES (1, ?1)
ON CONFLICT (only) DO UPDATE SET position = max(position, excluded.position)
