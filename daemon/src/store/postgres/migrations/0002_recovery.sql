-- The key of each row, wrapped for the recovery key: JSON, with a MAC under the key. NULL without a recovery key.
ALTER TABLE keys ADD COLUMN recovery bytea;
