// The same in Express.
const express = require('express');

const app = express();
app.use(express.raw({ type: () => true, limit: '64mb' }));
app.get(/.*/, (req, res) => res.send('hello'));
app.post(/.*/, (req, res) => res.send(Buffer.isBuffer(req.body) ? req.body : ''));
app.listen(process.env.PORT, '0.0.0.0');
