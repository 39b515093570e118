# Tables, indexes, joins, text search by LIKE, JSON and a vacuum, in memory and in a file.
for where in ":memory:" "file.db"; do
sqlite3 $where <<SQL
PRAGMA journal_mode=MEMORY;
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INT, price REAL, note TEXT);
CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $((60000 * SCALE)))
  INSERT INTO orders SELECT i, i * 7919 % 5003, i % 97 * 1.25, printf('note %d of %x', i, i * i) FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 5003)
  INSERT INTO customers SELECT i, hex(i * 31) || '-' || i FROM n;
CREATE INDEX by_customer ON orders(customer, price);
CREATE INDEX by_note ON orders(note);
SELECT count(*), sum(price), max(note) FROM orders;
SELECT c.name, count(*), sum(o.price) FROM orders o JOIN customers c ON c.id = o.customer GROUP BY c.id ORDER BY 3 DESC, 1 LIMIT 5;
SELECT count(*) FROM orders WHERE note LIKE '%ff%';
UPDATE orders SET note = note || ' (changed)' WHERE id % 3 = 0;
DELETE FROM orders WHERE id % 5 = 0;
SELECT count(*), sum(length(note)) FROM orders;
SELECT length(json_group_array(json_object('id', id, 'note', note))) FROM orders WHERE id < 5000;
SELECT group_concat(name, '') IS NOT NULL, length(group_concat(name)) FROM customers;
SELECT sum(rank) FROM (SELECT row_number() OVER (PARTITION BY customer ORDER BY price DESC) AS rank FROM orders);
VACUUM;
PRAGMA integrity_check;
SQL
done
rm -f file.db
echo "status $?"
