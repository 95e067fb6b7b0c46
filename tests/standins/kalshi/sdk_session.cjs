// A session of the official TypeScript SDK: every call's answer (or error) as one line of JSON.
// Arguments: folder of node_modules, REST base, key id, file of the private key, ticker, its event and series.
const { createRequire } = require('module');
const [, , folder, basePath, apiKey, privateKeyPath, ticker, event, series] = process.argv;
const sdk = createRequire(folder + '/')('kalshi-typescript');
const config = new sdk.Configuration({ apiKey, privateKeyPath, basePath });
const orders = new sdk.OrdersApi(config);
const groups = new sdk.OrderGroupsApi(config);
const portfolio = new sdk.PortfolioApi(config);
const market = new sdk.MarketApi(config);
const events = new sdk.EventsApi(config);
const exchange = new sdk.ExchangeApi(config);
const account = new sdk.AccountApi(config);

async function say(name, model, call) {
  try {
    const answer = await call();
    console.log(JSON.stringify({ name, model, status: answer.status, body: answer.data }));
    return answer.data;
  } catch (error) {
    if (!error.response) throw error;
    console.log(JSON.stringify({ name, status: error.response.status, body: error.response.data }));
    return {};
  }
}

const order = (changes) => ({
  ticker, side: 'bid', count: '10.00', price: '0.4900', time_in_force: 'good_till_canceled',
  self_trade_prevention_type: 'maker', post_only: true, exchange_index: 0, ...changes,
});

async function trade() {
  const made = await say('group', 'CreateOrderGroupResponse', () => groups.createOrderGroup({ contracts_limit: 500 }));
  const group = made.order_group_id;
  const first = await say('create', 'CreateOrderV2Response',
    () => orders.createOrderV2(order({ client_order_id: 'sdk-1', order_group_id: group })));
  await say('again', null, () => orders.createOrderV2(order({ client_order_id: 'sdk-1' })));
  await say('cross', null, () => orders.createOrderV2(order({ price: '0.5500' })));
  const id = first.order_id;
  await say('order', 'GetOrderResponse', () => orders.getOrder(id));
  await say('amend', 'AmendOrderV2Response', () => orders.amendOrderV2(id, { ticker, side: 'bid', price: '0.4700', count: '12.00' }));
  await say('decrease', 'DecreaseOrderV2Response', () => orders.decreaseOrderV2(id, { reduce_by: '2.00', exchange_index: 0 }));
  await say('queue', 'GetOrderQueuePositionResponse', () => orders.getOrderQueuePosition(id));
  await say('queues', 'GetOrderQueuePositionsResponse', () => orders.getOrderQueuePositions(ticker));
  await say('group detail', 'GetOrderGroupResponse', () => groups.getOrderGroup(group));
  await say('groups', 'GetOrderGroupsResponse', () => groups.getOrderGroups());
  await say('group limit', null, () => groups.updateOrderGroupLimit(group, { contracts_limit: 400 }));
  await say('orders', 'GetOrdersResponse', () => orders.getOrders(ticker, undefined, undefined, undefined, 'resting'));
  await say('cancel', 'CancelOrderV2Response', () => orders.cancelOrderV2(id, undefined, 0));
  await say('cancel again', null, () => orders.cancelOrderV2(id, undefined, 0));
  const batch = await say('batch', 'BatchCreateOrdersV2Response',
    () => orders.batchCreateOrdersV2({ orders: [order({ price: '0.4600' }), order({ price: '0.4655' })] }));
  await say('batch cancel', 'BatchCancelOrdersV2Response',
    () => orders.batchCancelOrdersV2({ orders: [{ order_id: batch.orders[0].order_id, exchange_index: 0 }] }));
  await say('take', 'CreateOrderV2Response',
    () => orders.createOrderV2(order({ price: '0.5200', count: '4', post_only: false, time_in_force: 'immediate_or_cancel' })));
  await say('cancel all', null, () => orders.cancelAllOrders());
  await say('group trigger', null, () => groups.triggerOrderGroup(group));
  await say('group reset', null, () => groups.resetOrderGroup(group));
  await say('group delete', null, () => groups.deleteOrderGroup(group));
}

async function read() {
  await say('fills', 'GetFillsResponse', () => portfolio.getFills());
  await say('positions', 'GetPositionsResponse', () => portfolio.getPositions());
  await say('settlements', 'GetSettlementsResponse', () => portfolio.getSettlements());
  await say('balance', 'GetBalanceResponse', () => portfolio.getBalance());
  await say('resting value', 'GetPortfolioRestingOrderTotalValueResponse', () => portfolio.getPortfolioRestingOrderTotalValue());
  await say('limits', 'GetAccountApiLimitsResponse', () => account.getAccountApiLimits());
  await say('costs', 'GetAccountEndpointCostsResponse', () => account.getAccountEndpointCosts());
  await say('keys', 'GetApiKeysResponse', () => new sdk.ApiKeysApi(config).getApiKeys());
  await say('status', 'ExchangeStatus', () => exchange.getExchangeStatus());
  await say('schedule', 'GetExchangeScheduleResponse', () => exchange.getExchangeSchedule());
  await say('user data', 'GetUserDataTimestampResponse', () => exchange.getUserDataTimestamp());
  await say('fee changes', 'GetSeriesFeeChangesResponse', () => exchange.getSeriesFeeChanges());
  await say('event fee changes', 'GetEventFeeChangesResponse', () => events.getEventFeeChanges());
  await say('markets', 'GetMarketsResponse', () => market.getMarkets(2));
  await say('market', 'GetMarketResponse', () => market.getMarket(ticker));
  await say('book', 'GetMarketOrderbookResponse', () => market.getMarketOrderbook(ticker));
  await say('books', 'GetMarketOrderbooksResponse', () => market.getMarketOrderbooks([ticker]));
  await say('trades', 'GetTradesResponse', () => market.getTrades());
  const now = Math.floor(Date.now() / 1000);
  await say('candles', 'GetMarketCandlesticksResponse', () => market.getMarketCandlesticks(series, ticker, now - 3600, now + 3600, 1));
  await say('events', 'GetEventsResponse', () => events.getEvents(10));
  await say('event', 'GetEventResponse', () => events.getEvent(event));
  await say('series', 'GetSeriesResponse', () => market.getSeries(series));
  await say('programmes', 'GetIncentiveProgramsResponse', () => new sdk.IncentiveProgramsApi(config).getIncentivePrograms());
  await say('milestones', 'GetMilestonesResponse', () => new sdk.MilestoneApi(config).getMilestones(10));
  await say('cutoff', 'GetHistoricalCutoffResponse', () => new sdk.HistoricalApi(config).getHistoricalCutoff());
}

trade().then(read).catch((error) => { console.error(error); process.exit(1); });
