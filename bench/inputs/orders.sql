-- An order book in memory: bulk insert, two indexes, joins, groupings, updates, text functions, deletes.
PRAGMA temp_store = MEMORY;
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INTEGER, item TEXT, count INTEGER, price INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
INSERT INTO customer SELECT i, 'customer ' || i || substr('abcdefghijklmnopqrstuvwxyz', i % 20, 6), 'city ' || (i * 7919 % 97) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 90000)
INSERT INTO orders SELECT i, i * 7919 % 4000 + 1, 'item ' || (i * 104729 % 1009), i % 9 + 1, i * 31 % 500 FROM n;
CREATE INDEX orders_customer ON orders(customer);
CREATE INDEX orders_item ON orders(item, price);
SELECT city, count(*), sum(count * price) FROM orders JOIN customer ON customer.id = orders.customer GROUP BY city ORDER BY 3 DESC LIMIT 5;
SELECT item, group_concat(id, '-') AS ids FROM orders WHERE price > 490 GROUP BY item ORDER BY length(ids) DESC, item LIMIT 2;
UPDATE orders SET item = upper(item) || '/' || count WHERE id % 3 = 0;
SELECT count(DISTINCT replace(item, 'ITEM', 'i')), avg(length(item)) FROM orders;
SELECT name, (SELECT count(*) FROM orders WHERE customer = customer.id) AS n FROM customer ORDER BY n DESC, name LIMIT 3;
DELETE FROM orders WHERE price < 100;
SELECT count(*), sum(json_extract(json_object('a', id, 'b', item), '$.a')) FROM orders;
SELECT a.item, count(*) FROM orders a JOIN orders b ON a.item = b.item AND a.price = b.price AND a.id < b.id GROUP BY a.item ORDER BY 2 DESC, 1 LIMIT 3;
